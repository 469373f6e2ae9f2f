"""Triggers that keep columns right while two codes write to a table.

A trigger and its function have one name, made of a hash, so that no name of the application is met
and none is too long. PostgreSQL fires BEFORE triggers in the order of their names: `rank` decides
which of ours goes first. The function runs with the rights of who writes the row, and finds what it
names where the session found it that made it, whatever the search_path of who writes.
"""

from dataclasses import dataclass
from hashlib import sha256

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.phases.locks import take_briefly
from deploy_ops.phases.operations.base import Change

TAG = "$deploy_ops$"
_SETTINGS = ("TimeZone", "DateStyle", "IntervalStyle", "extra_float_digits", "bytea_output")
_EXISTS = """
    SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = %s)
"""
_SCHEMA = """
    SELECT quote_ident(nspname) FROM pg_class JOIN pg_namespace AS schema
    ON schema.oid = relnamespace WHERE pg_class.oid = to_regclass(%s)
"""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A BEFORE trigger for each row; `body` is PL/pgSQL that may change NEW.

    `subject` is what it is for, with app and model: it makes the name, together with the purpose,
    which so stays the same when the table is renamed. `condition` is SQL on NEW and OLD; where it
    is false the function is not even called. `arguments` stay in the catalog, for whoever asks
    what it is for. With `is_by_settings` it computes as the session that makes it would, whatever
    the time zone and the forms of dates of who writes.
    """

    table: str
    purpose: str
    subject: str
    body: str
    rank: int
    condition: str | None = None
    events: str = "INSERT OR UPDATE"
    arguments: tuple[str, ...] = ()
    is_by_settings: bool = False

    @property
    def name(self) -> str:
        """Name of the trigger and of its function."""
        digest = sha256(self.subject.encode()).hexdigest()[:12]
        return f"deploy_ops_{self.rank}_{self.purpose}_{digest}"


def create_trigger(change: Change, trigger: Trigger) -> None:
    """Create it; idempotent."""
    table, function = change.quote(trigger.table), _function(change, trigger)
    arguments = ", ".join(map(change.editor.quote_value, trigger.arguments))
    pinned = _SETTINGS if trigger.is_by_settings else ()
    settings = "".join(f" SET {each} FROM CURRENT" for each in pinned)
    when = f" WHEN ({trigger.condition})" if trigger.condition else ""
    change.execute(
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql"
        f" SECURITY INVOKER SET search_path FROM CURRENT{settings} AS {TAG}\n"
        "#variable_conflict use_column\n"
        f"BEGIN\n    {trigger.body}\n    RETURN NEW;\nEND\n{TAG}"
    )
    sql = (
        f"CREATE TRIGGER {change.quote(trigger.name)} BEFORE {trigger.events} ON {table}"
        f" FOR EACH ROW{when} EXECUTE FUNCTION {function}({arguments})"
    )
    if change.editor.collect_sql:
        change.execute(sql)
    elif not trigger_exists(change.connection, trigger):
        take_briefly(change.connection, [trigger.table], lambda: change.execute(sql))


def drop_trigger(change: Change, trigger: Trigger) -> None:
    """Drop it and its function; idempotent."""
    sql = f"DROP TRIGGER {change.quote(trigger.name)} ON {change.quote(trigger.table)}"
    if change.editor.collect_sql:
        change.execute(sql)
    elif trigger_exists(change.connection, trigger):
        take_briefly(change.connection, [trigger.table], lambda: change.execute(sql))
    change.execute(f"DROP FUNCTION IF EXISTS {_function(change, trigger)}()")


def trigger_exists(connection: BaseDatabaseWrapper, trigger: Trigger) -> bool:
    """Whether the table has it."""
    with connection.cursor() as cursor:
        cursor.execute(_EXISTS, [connection.ops.quote_name(trigger.table), trigger.name])
        return bool(cursor.fetchone()[0])


def has_function(change: Change, trigger: Trigger) -> bool:
    """Whether its function is there: where the trigger alone is gone, it was not dropped here."""
    with change.connection.cursor() as cursor:
        cursor.execute(
            "SELECT to_regprocedure(%s) IS NOT NULL", [f"{_function(change, trigger)}()"]
        )
        return bool(cursor.fetchone()[0])


def _function(change: Change, trigger: Trigger) -> str:
    """The function, in the schema of the table, where it goes with the table's schema."""
    with change.connection.cursor() as cursor:
        cursor.execute(_SCHEMA, [change.quote(trigger.table)])
        row = cursor.fetchone()
    schema = f"{row[0]}." if row else ""
    return f"{schema}{change.quote(trigger.name)}"
