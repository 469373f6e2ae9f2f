"""Models of two releases at work on one schema: every kind of statement that Django makes.

Run in the process of a project: `failures("shop", "0001_initial")` is what does not work for models
as they are after that migration. Nothing of it stays.
"""

import datetime
import decimal
import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from django.apps.registry import Apps
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections, models, transaction
from django.db.migrations.loader import MigrationLoader

Failure = tuple[str, str, str]


def failures(app: str, migration: str | None = None) -> list[Failure]:
    """What fails: model, kind of statement, and what the database says."""
    loader = MigrationLoader(connection)
    state = loader.project_state((app, migration) if migration else None)
    return failures_of(state.apps, app, connection.alias)


def failures_of(apps: Apps, app: str, using: str) -> list[Failure]:
    """The same for the models of a registry, in a database of this process."""
    return [
        failure
        for model in apps.get_app_config(app).get_models(include_auto_created=True)
        for failure in _failures_of(model, using)
    ]


def _failures_of(model: type[models.Model], using: str) -> Iterator[Failure]:
    for name, work in STATEMENTS.items():
        try:
            with transaction.atomic(using):
                work(Rows(model, using))
                connections[using].cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")
                transaction.set_rollback(True, using)
        except Error as error:
            yield model._meta.label, name, str(error).partition("\n")[0]


class Rows:
    """Makes rows of a model, as large and as long as its fields allow."""

    count = itertools.count(1)

    def __init__(self, model: type[models.Model], using: str = DEFAULT_DB_ALIAS) -> None:
        self.model = model
        self.using = using
        self.manager = model._base_manager.using(using)
        self.fields = [each for each in model._meta.local_concrete_fields if _is_written(each)]

    def new(self, **given: Any) -> models.Model:
        """One that is not saved."""
        return self.model(**self.values(**given))

    def values(self, **given: Any) -> dict[str, Any]:
        """By field; with small numbers where a check of its own wants them."""
        values = {each.name: self.value(each) for each in self.fields} | given
        if not self._meets_checks(values):
            small = [each for each in self.fields if each.get_internal_type() == "IntegerField"]
            values |= {each.name: next(self.count) % 900 for each in small}
        return values

    def _meets_checks(self, values: dict[str, Any]) -> bool:
        return all(
            constraint.condition.check(values, self.using)
            for constraint in self.model._meta.constraints
            if isinstance(constraint, models.CheckConstraint)
        )

    def saved(self, **given: Any) -> models.Model:
        """One that is."""
        row = self.new(**given)
        row.save(force_insert=True, using=self.using)
        return row

    def value(self, each: models.Field) -> Any:
        """A value that no other row has, where the type has many."""
        number, kind = next(self.count), each.get_internal_type()
        if each.remote_field and each.null and each.remote_field.model is self.model:
            return None
        if each.remote_field:
            return Rows(each.remote_field.model, self.using).saved()
        if kind in ("CharField", "SlugField", "TextField"):
            return f"{number}".rjust(each.max_length or 500, "x")
        if kind.endswith("IntegerField"):
            return connections[self.using].ops.integer_field_range(kind)[1] - number
        if kind == "DecimalField":
            return decimal.Decimal(10) ** (each.max_digits - each.decimal_places) - number
        return VALUES[kind]()

    def nulls(self) -> dict[str, None]:
        """Every field that may be NULL."""
        return {each.name: None for each in self.fields if each.null}

    def not_unique(self) -> dict[str, Any]:
        """One value for each field that several rows may share."""
        alone = {name for names in self.model._meta.unique_together for name in names}
        for constraint in self.model._meta.constraints:
            if isinstance(constraint, models.UniqueConstraint):
                alone |= set(constraint.fields)
        shared = [each for each in self.fields if not each.unique and each.name not in alone]
        return {each.name: self.value(each) for each in shared}

    def conflicts(self) -> Iterator[list[str]]:
        """What INSERT ... ON CONFLICT can name."""
        yield ["pk"]
        yield from ([each.name] for each in self.fields if each.unique and not each.primary_key)
        for constraint in self.model._meta.constraints:
            if isinstance(constraint, models.UniqueConstraint):
                yield list(constraint.fields)


VALUES: dict[str, Callable[[], Any]] = {
    "BooleanField": lambda: True,
    "DateField": datetime.date.today,
    "DateTimeField": lambda: datetime.datetime.now(datetime.UTC),
    "FloatField": lambda: 1.5,
    "JSONField": dict,
    "UUIDField": uuid.uuid4,
}


def _is_written(each: models.Field) -> bool:
    return not isinstance(each, models.AutoField | models.GeneratedField)


def _insert_left_to_defaults(rows: Rows) -> None:
    """Whatever has a default of the database or of the models is left to it."""
    left = {each.name for each in rows.fields if each.has_default() or each.has_db_default()}
    given = {name: value for name, value in rows.values().items() if name not in left}
    rows.model(**given).save(force_insert=True, using=rows.using)


def _insert_twice(rows: Rows) -> None:
    shared = rows.not_unique()
    rows.saved(**shared)
    rows.saved(**shared)


def _bulk(**options: Any) -> Callable[[Rows], Any]:
    return lambda rows: rows.manager.bulk_create([rows.new(), rows.new()], **options)


def _upsert(rows: Rows) -> None:
    names = [each.name for each in rows.fields if not each.primary_key]
    for target in rows.conflicts():
        # Of the models' own: a key that the database gives is not there to conflict with.
        if names:
            rows.manager.bulk_create(
                [rows.new()], update_conflicts=True, unique_fields=target, update_fields=names
            )


def _select(rows: Rows) -> None:
    rows.saved()
    assert list(rows.manager.all())


def _select_for_update(rows: Rows) -> None:
    rows.saved()
    assert list(rows.manager.select_for_update())


def _update(rows: Rows) -> None:
    row = rows.saved()
    keys = {each.name for each in rows.fields if each.primary_key}
    given = {name: value for name, value in rows.values().items() if name not in keys}
    if given:
        rows.manager.filter(pk=row.pk).update(**given)


def _update_one(rows: Rows) -> None:
    row = rows.manager.get(pk=rows.saved().pk)
    for name in rows.nulls():
        setattr(row, name, None)
    row.save(force_update=bool([each for each in rows.fields if not each.primary_key]))


def _delete(rows: Rows) -> None:
    """Of this row and of what it points to, which must let go of it."""
    row = rows.saved()
    parents = [getattr(row, each.name) for each in rows.fields if each.remote_field]
    parents = [each for each in parents if each is not None]
    for one in [row, *parents]:
        type(one)._base_manager.using(rows.using).filter(pk=one.pk)._raw_delete(rows.using)


STATEMENTS: dict[str, Callable[[Rows], Any]] = {
    "insert": lambda rows: rows.saved(),
    "insert nulls": lambda rows: rows.saved(**rows.nulls()),
    "insert defaults": _insert_left_to_defaults,
    "insert twice": _insert_twice,
    "bulk insert": _bulk(),
    "bulk insert, conflicts ignored": _bulk(ignore_conflicts=True),
    "insert or update": _upsert,
    "select": _select,
    "select for update": _select_for_update,
    "update": _update,
    "update one row": _update_one,
    "delete": _delete,
}
