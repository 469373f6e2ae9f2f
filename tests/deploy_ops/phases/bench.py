"""Operations tried one by one on a real database, and its catalog compared.

Two schemas of one database, `plain` and `online`, hold tables of the same names, so that the names
that are made of theirs have to be the same too.
"""

import os
import re
import sys
import traceback
from contextlib import contextmanager
from types import ModuleType

from django.db import connections, migrations, models
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from deploy_ops.phases.halves import note_start
from deploy_ops.phases.operations.base import Change

APP = "shop"
PACKAGE = "shop_migrations"  # as settings.MIGRATION_MODULES has it
CATALOG = """
    SELECT 'column', relname || '.' || attname, format_type(atttypid, atttypmod) || ' ' ||
        attnotnull || coalesce(' default ' || pg_get_expr(adbin, adrelid), '') ||
        coalesce(' -- ' || col_description(attrelid, attnum), '')
    FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = to_regnamespace('{schema}') AND relkind IN ('r', 'p') AND attnum > 0
        AND NOT attisdropped AND relname <> 'django_migrations'
    UNION ALL
    SELECT 'constraint', conrelid::regclass || '.' || conname,
        pg_get_constraintdef(oid) || ' ' || convalidated || condeferrable || condeferred
    FROM pg_constraint WHERE connamespace = to_regnamespace('{schema}')
    UNION ALL
    SELECT 'index', c.relname, pg_get_indexdef(c.oid) || ' ' || indisvalid || indisready ||
        coalesce((SELECT spcname FROM pg_tablespace AS t WHERE t.oid = reltablespace), '')
    FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
    WHERE relnamespace = to_regnamespace('{schema}')
    UNION ALL
    SELECT 'trigger', tgrelid::regclass::text, tgname FROM pg_trigger
    WHERE NOT tgisinternal AND tgrelid IN (
        SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('{schema}'))
    UNION ALL
    SELECT 'function', proname, '' FROM pg_proc WHERE pronamespace = to_regnamespace('{schema}')
"""
CHANGES = re.compile(r"\s*(CREATE|ALTER|DROP|UPDATE|COMMENT|INSERT|DELETE|COMMIT)\b", re.I)


class Bench:
    """One app, its state, and a connection whose search_path leads to one of the two schemas."""

    def __init__(self, alias, *, given, schema="online", is_new=False, before=()):
        self.connection = connections[alias]
        self.schema = schema
        self.sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE", f"CREATE SCHEMA {schema}")
        self.enter()
        recorder = MigrationRecorder(self.connection)
        recorder.ensure_schema()
        recorder.record_unapplied(APP, "0001_initial")
        if not is_new:
            recorder.record_applied(APP, "0001_initial")
        note_start(alias)
        self.state = ProjectState()
        self.apply(*given, is_atomic=True)
        self.sql(*before)

    def enter(self):
        """Lead the session to the schema."""
        self.sql(f"SET search_path TO {self.schema}, public")

    def sql(self, *statements):
        """Run statements, or one with rows."""
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def apply(self, *operations, is_atomic=False):
        """Apply operations as a migration does, and move on."""
        for operation in operations:
            after = self.after(operation)
            with self.connection.schema_editor(atomic=is_atomic) as editor:
                operation.database_forwards(APP, editor, self.state, after)
            self.state = after

    def try_out(self, operation, **kwargs):
        """Apply an operation and stay in the state before it."""
        before = self.state
        try:
            self.apply(operation, **kwargs)
        finally:
            self.state = before

    def reverse(self, operation, *, is_atomic=False):
        """Reverse an operation that was tried out."""
        after = self.after(operation)
        with self.connection.schema_editor(atomic=is_atomic) as editor:
            operation.database_backwards(APP, editor, after, self.state)

    def contract(self, operation):
        """Run what an operation that was tried out has put off."""
        with self.connection.schema_editor(atomic=operation.contract_is_atomic) as editor:
            operation.contract(Change(APP, editor, self.state, self.after(operation)))

    def collect(self, operation, *, backwards=False):
        """What sqlmigrate prints."""
        after = self.after(operation)
        with self.connection.schema_editor(collect_sql=True, atomic=False) as editor:
            if backwards:
                operation.database_backwards(APP, editor, after, self.state)
            else:
                operation.database_forwards(APP, editor, self.state, after)
        return editor.collected_sql

    def catalog(self):
        """All there is in the schema, without its name."""
        rows = self.sql(CATALOG.format(schema=self.schema))
        return sorted(tuple(part.replace(f"{self.schema}.", "") for part in row) for row in rows)

    def names(self, kind):
        """Names of the things of a kind."""
        return [name for each, name, _ in self.catalog() if each == kind]

    def killed_after(self, number, act):
        """Do it in a child that dies after so many changes; False if it came to its end before."""
        self.connection.close()
        child = os.fork()
        if not child:
            self._die_after(number, act)
        _, status = os.waitpid(child, 0)
        self.enter()
        assert os.waitstatus_to_exitcode(status) in (0, 9)
        return os.waitstatus_to_exitcode(status) == 9

    def _die_after(self, number, act):
        try:
            self.enter()
            with self.connection.execute_wrapper(dying_after(number)):
                act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def after(self, operation):
        """The state after an operation of a migration of its own."""
        migration = type("Migration", (migrations.Migration,), {"operations": [operation]})
        module = sys.modules.setdefault(f"{PACKAGE}.0002_change", ModuleType("0002_change"))
        module.Migration = migration
        after = self.state.clone()
        operation.state_forwards(APP, after)
        return after


def dying_after(number):
    """End the process after so many statements that change something."""
    seen = 0

    def wrapper(execute, sql, params, many, context):
        nonlocal seen
        result = execute(sql, params, many, context)
        seen += bool(CHANGES.match(str(sql)))
        if seen == number:
            os._exit(9)
        return result

    return wrapper


@contextmanager
def recorded(connection):
    """The statements that change something."""
    statements = []

    def wrapper(execute, sql, params, many, context):
        if CHANGES.match(str(sql)):
            statements.append(str(sql))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        yield statements


def create(name, *fields, key=None, **options):
    """CreateModel with a primary key."""
    given = [("id", key or models.BigAutoField(primary_key=True)), *fields]
    return migrations.CreateModel(name, given, options)
