"""What a release needs of the schema: its tables as its models have them, as a value (pure).

Taken from an app registry, the real one or that of a migration's state, in the words of one
database; written down at each deployment, and read back at the next one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django.apps.registry import Apps
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, CheckConstraint, Field, GeneratedField, Model
from django.db.models import UniqueConstraint
from django.db.models.fields import NOT_PROVIDED

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `default` says what an INSERT that leaves it out gets: "" for nothing but NULL.

    "database" for a default or an identity of the column, "generated" for what is never inserted.
    `python_default` says the same of the models: "constant", "callable" or "".
    """

    field: str
    type: str
    null: bool
    default: str = ""
    python_default: str = ""

    @property
    def may_be_left_out(self) -> bool:
        """Whether an INSERT without it succeeds."""
        return self.null or bool(self.default)


@dataclass(frozen=True, slots=True)
class Unique:
    """What may be there once: columns, and in `detail` what else it depends on."""

    name: str
    columns: tuple[str, ...]
    detail: str = ""

    def is_implied_by(self, other: "Unique") -> bool:
        """Whether what keeps to the other one keeps to this one too."""
        same = self.detail == other.detail
        if not self.columns or not other.columns:
            return same and self.columns == other.columns
        return (same or not other.detail) and set(other.columns) <= set(self.columns)


@dataclass(frozen=True, slots=True)
class Check:
    """A condition that every row has to meet."""

    name: str
    condition: str


@dataclass(frozen=True, slots=True)
class Table:
    """The table of one model, or of a many-to-many field."""

    model: str
    columns: Mapping[str, Column]
    uniques: tuple[Unique, ...] = ()
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All tables by name."""

    tables: Mapping[str, Table] = field(default_factory=dict)

    def as_json(self) -> Json:
        """For a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Json) -> "Snapshot":
        """As it was read back; KeyError or TypeError if it is none of this form."""
        try:
            return cls({name: _table_from(table) for name, table in facts["tables"].items()})
        except AttributeError as error:
            raise TypeError(str(error)) from error


def take_snapshot(apps: Apps, connection: BaseDatabaseWrapper) -> Snapshot:
    """The tables that the models of a registry have in a database, and that migrations make."""
    models = apps.get_models(include_auto_created=True)
    mine = [model for model in models if _is_mine(model, connection)]
    return Snapshot({model._meta.db_table: _table(model, connection) for model in mine})


def _is_mine(model: type[Model], connection: BaseDatabaseWrapper) -> bool:
    options = model._meta
    return options.can_migrate(connection) and router.allow_migrate_model(connection.alias, model)


def _table(model: type[Model], connection: BaseDatabaseWrapper) -> Table:
    fields = [each for each in model._meta.local_concrete_fields if each.column]
    return Table(
        model=model._meta.label,
        columns={each.column: _column(each, connection) for each in fields if each.column},
        uniques=tuple(_uniques(model)),
        checks=tuple(_checks(model, fields, connection)),
    )


def _column(each: "Field[Any, Any]", connection: BaseDatabaseWrapper) -> Column:
    return Column(
        field=each.name,
        type=each.db_type(connection) or "",
        null=each.null,
        default=_default(each),
        python_default=_python_default(each),
    )


def _default(each: "Field[Any, Any]") -> str:
    if isinstance(each, GeneratedField):
        return "generated"
    has_db_default = each.db_default is not NOT_PROVIDED
    return "database" if has_db_default or isinstance(each, AutoField) else ""


def _python_default(each: "Field[Any, Any]") -> str:
    if not each.has_default():
        return ""
    return "callable" if callable(each.default) else "constant"


def _uniques(model: type[Model]) -> Iterator[Unique]:
    options = model._meta
    columns = {each.name: str(each.column) for each in options.local_concrete_fields}
    yield Unique("primary key", tuple(str(each.column) for each in options.pk_fields))
    for name, column in columns.items():
        each = options.get_field(name)
        if each.unique and not each.primary_key:  # type: ignore[union-attr]
            yield Unique(name, (column,))
    for names in options.unique_together:
        if of := _columns(columns, names):
            yield Unique(", ".join(names), of)
    for constraint in options.constraints:
        if isinstance(constraint, UniqueConstraint):
            of = _columns(columns, constraint.fields)
            if of is not None:
                yield Unique(constraint.name, of, _detail(constraint))


def _columns(columns: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...] | None:
    """The columns of these fields; None if one is in another table, or has another name by now.

    After RenameField the state declares constraints of the old name, until the next operation.
    """
    found = [columns.get(name) for name in names]
    return None if None in found else tuple(str(column) for column in found)


def _detail(constraint: UniqueConstraint) -> str:
    """What narrows it to some rows, or makes it of something else than columns."""
    parts = [str(part) for part in (constraint.condition, *constraint.expressions) if part]
    if constraint.nulls_distinct is False:
        parts.append("nulls not distinct")
    return ", ".join(parts)


def _checks(
    model: type[Model], fields: list["Field[Any, Any]"], connection: BaseDatabaseWrapper
) -> Iterator[Check]:
    for each in fields:
        if condition := each.db_parameters(connection)["check"]:
            yield Check(each.name, str(condition))
    for constraint in model._meta.constraints:
        if isinstance(constraint, CheckConstraint):
            yield Check(constraint.name, str(constraint.condition))


def _table_from(facts: Json) -> Table:
    return Table(
        model=facts["model"],
        columns={name: Column(**column) for name, column in facts["columns"].items()},
        uniques=tuple(
            Unique(each["name"], tuple(each["columns"]), each["detail"])
            for each in facts["uniques"]
        ),
        checks=tuple(Check(**each) for each in facts["checks"]),
    )
