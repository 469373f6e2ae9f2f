"""What an operation is judged with: the models before and after it, and what is known besides."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter

from deploy_ops.databases.facts import Column, Facts, TableFacts
from deploy_ops.migrate.lint.impact import Impact

AnyField: TypeAlias = "models.Field[Any, Any]"
Model = type[models.Model]


@dataclass
class World:
    """The database, and what the plan has done to it so far, in its own words.

    `created` are tables that the plan made, `not_null` the columns that it has proven; `renamed`
    leads from a table's name of now to the one that it has in the database.
    """

    facts: Facts
    created: set[str] = field(default_factory=set)
    not_null: set[Column] = field(default_factory=set)
    not_valid: dict[str, Column] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def origin(self, table: str) -> str:
        """The name that the table has in the database now."""
        return self.renamed.get(table, table)

    def table(self, table: str) -> TableFacts | None:
        """What is known of a table."""
        name, tables = self.origin(table).replace('"', ""), self.facts.tables
        return tables.get(name) or tables.get(f"public.{name}")

    def is_free(self, table: str) -> bool:
        """Whether nobody can be waiting for it: it is new, not there, or holds nothing."""
        known = self.table(table)
        if table in self.created or known is None and self.facts.is_complete:
            return True
        return known is not None and known.is_empty

    def proves_not_null(self, table: str, column: str) -> bool:
        """Whether a valid CHECK shows that SET NOT NULL need not look."""
        known = (self.origin(table), column) in self.facts.not_null
        return known or (table, column) in self.not_null

    def rename(self, old: str, new: str) -> None:
        """Follow a table to its new name."""
        if old in self.created:
            self.created = self.created - {old} | {new}
        else:
            self.renamed[new] = self.renamed.pop(old, old)


@dataclass(frozen=True)
class Scene:
    """One operation's surroundings."""

    app_label: str
    states: tuple[ProjectState, ProjectState]
    connection: BaseDatabaseWrapper
    world: World
    is_atomic: bool = True

    @property
    def before(self) -> Apps:
        """The models before."""
        return self.states[0].apps

    @property
    def after(self) -> Apps:
        """The models after."""
        return self.states[1].apps

    def old(self, name: str) -> Model:
        """The model before."""
        return self.before.get_model(self.app_label, name)

    def new(self, name: str) -> Model:
        """The model after."""
        return self.after.get_model(self.app_label, name)

    def allows(self, operation: Any, model: Model) -> bool:
        """Whether routers and the model's options let the operation reach this database."""
        return bool(operation.allow_migrate_model(self.connection.alias, model))

    @property
    def editor(self) -> BaseDatabaseSchemaEditor:
        """Django's schema editor, asked for its decisions and never run."""
        return self.connection.schema_editor(collect_sql=True)


Impacts = list[Impact]


def table_of(model: Model) -> str:
    """Name of the model's table."""
    return model._meta.db_table


def code_of(value: Any) -> str:
    """A field, index or constraint as a migration writes it."""
    return MigrationWriter.serialize(value)[0]


def has_column(each: Any) -> bool:
    """Whether the field is a column of its own; many-to-many fields and compositions are not."""
    return not each.many_to_many and each.column is not None


def parent_of(each: AnyField) -> str | None:
    """The table that a foreign key with a constraint points to."""
    target = getattr(each.remote_field, "model", None)
    if target is None or each.many_to_many or not getattr(each, "db_constraint", False):
        return None
    return table_of(target)


def implicit_through(each: AnyField) -> Model | None:
    """The model of a many-to-many table that Django makes by itself."""
    through: Any = getattr(each.remote_field, "through", None)
    if not each.many_to_many or through is None:
        return None
    return through if through._meta.auto_created else None


def indexes_of(scene: Scene, model: Model, each: AnyField) -> int:
    """How many indexes come with the column: of UNIQUE, of db_index, and for LIKE."""
    editor: Any = scene.editor
    # pylint: disable-next=protected-access  # Django's own decision
    extra: list[Statement] = editor._field_indexes_sql(model, each)
    return len(extra) + bool(each.unique)
