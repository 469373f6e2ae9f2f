"""What AlterField does to tables: the steps of Django's schema editor, one after the other.

Read beside BaseDatabaseSchemaEditor._alter_field (Django 5.2 to 6.1), whose order it keeps.
"""

# pylint: disable=protected-access  # the decisions are the schema editor's own

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterator
from typing import Any

from django.db.backends.base.schema import _related_non_m2m_objects  # type: ignore[attr-defined]

from deploy_ops.migrate.lint.column_types import work_of_change
from deploy_ops.migrate.lint.impact import Impact, Lock, Work
from deploy_ops.migrate.lint.scene import (
    Model,
    Scene,
    code_of,
    has_column,
    implicit_through,
    parent_of,
    table_of,
)

ALWAYS = Lock.ACCESS_EXCLUSIVE


def alter_field(operation: Any, scene: Scene) -> Iterator[Impact]:
    """ALTER COLUMN, with all that Django drops and makes around it."""
    old = scene.old(operation.model_name)._meta.get_field(operation.name)
    new = scene.new(operation.model_name)._meta.get_field(operation.name)
    yield from Alteration(scene, operation.model_name, operation.name, old, new).impacts()


def alter_relation(old: Model, new: Model, scene: Scene) -> Iterator[Impact]:
    """The foreign keys that point to a renamed model, which Django alters with it."""
    for relation in old._meta.related_objects:
        child = relation.related_model
        key = new._meta.label_lower if child is old else child._meta.label_lower
        model = scene.after.get_model(key)
        after = model._meta.get_field(relation.field.name)
        name = model._meta.model_name or ""
        yield from Alteration(scene, name, after.name, relation.field, after).impacts()


def alter_through(old: Any, new: Any, scene: Scene) -> Iterator[Impact]:
    """The table that Django made for a many-to-many field, as _alter_many_to_many changes it."""
    before, after = implicit_through(old), implicit_through(new)
    if before is None or after is None:
        return
    if table_of(before) != table_of(after):
        yield Impact(table=table_of(before), lock=ALWAYS)
        scene.world.rename(table_of(before), table_of(after))
    for name, new_name in (
        (old.m2m_reverse_field_name(), new.m2m_reverse_field_name()),
        (old.m2m_field_name(), new.m2m_field_name()),
    ):
        fields = before._meta.get_field(name), after._meta.get_field(new_name)
        yield from Alteration(scene, str(after._meta.model_name), new_name, *fields).impacts()


class Alteration:  # pylint: disable=too-many-instance-attributes
    """One column before and after."""

    def __init__(  # pylint: disable=too-many-arguments,too-many-positional-arguments
        self, scene: Scene, model_name: str, name: str, old: Any, new: Any
    ) -> None:
        self.scene = scene
        self.model_name, self.name = model_name, name
        self.old: Any = old
        self.new: Any = new
        self.table = table_of(new.model)
        self.editor: Any = scene.editor
        self.place = f"{self.table}.{new.column}"

    def impacts(self) -> Iterator[Impact]:
        """All that happens, in Django's order."""
        if not self.editor._field_should_be_altered(self.old, self.new):
            return
        if self.old.many_to_many and self.new.many_to_many:
            yield from alter_through(self.old, self.new, self.scene)
            return
        if not (has_column(self.old) and has_column(self.new)):
            return
        yield from self._foreign_key_dropped()
        yield from self._indexes_dropped()
        yield from self._column()
        yield from self._indexes_made()
        yield from self._foreign_key_made()
        yield from self._check()

    @property
    def _types(self) -> tuple[str, str]:
        connection = self.scene.connection
        return (
            self.old.db_parameters(connection=connection)["type"] or "",
            self.new.db_parameters(connection=connection)["type"] or "",
        )

    @property
    def _drops_foreign_key(self) -> bool:
        return bool(parent_of(self.old)) and self.editor._field_should_be_altered(
            self.old, self.new, ignore={"db_comment"}
        )

    def _foreign_key_dropped(self) -> Iterator[Impact]:
        parent = parent_of(self.old)
        if parent is None or not self._drops_foreign_key:
            return
        yield Impact(table=self.table, lock=ALWAYS)
        if parent != self.table:
            yield Impact(
                rule="L014",
                table=parent,
                lock=ALWAYS,
                what=f"Altering {self.place} drops its foreign key, which locks {parent} too.",
                cure=self._alter_cure(),
            )

    def _indexes_dropped(self) -> Iterator[Impact]:
        loses_unique = self.old.unique and not self.new.unique
        loses_index = self.old.db_index and not self.old.unique
        if loses_unique or (loses_index and (not self.new.db_index or self.new.unique)):
            yield Impact(
                rule="" if loses_unique else "L002",
                table=self.table,
                lock=ALWAYS,
                what=f"Dropping the index of {self.place} locks {self.table}.",
                cure=f'RemoveIndexOnline("{self.model_name}", "...")',
            )

    def _column(self) -> Iterator[Impact]:
        old_type, new_type = self._types
        yield from self._type(old_type, new_type)
        if self._changes_without_work():
            yield Impact(table=self.table, lock=ALWAYS)
        if self.old.db_comment != self.new.db_comment:
            yield Impact(table=self.table, lock=ALWAYS)  # Django names the type again with it
        if self.old.null and not self.new.null:
            yield from self._not_null()

    def _changes_without_work(self) -> bool:
        return bool(
            self.old.column != self.new.column
            or self.old.null != self.new.null
            or self.old.has_db_default() != self.new.has_db_default()
            or self.old.db_default != self.new.db_default
        )

    def _type(self, old_type: str, new_type: str) -> Iterator[Impact]:
        collations = [
            each.db_parameters(connection=self.scene.connection).get("collation")
            for each in (self.old, self.new)
        ]
        if old_type == new_type and collations[0] == collations[1]:
            return
        work = work_of_change(old_type, new_type)
        yield Impact(table=self.table, lock=ALWAYS)
        if work is Work.NONE and self._is_checked():
            work = Work.SCAN
        if work is Work.NONE and (collations[0] != collations[1] and self._is_indexed()):
            work = Work.BUILD
        if work is not Work.NONE:
            yield Impact(
                rule="L005",
                table=self.table,
                lock=ALWAYS,
                work=work,
                what=f"Changing {self.place} from {old_type} to {new_type}",
                cure=self._type_cure(),
            )
        if self._is_target() and (old_type != new_type or collations[0] != collations[1]):
            yield from self._fan_out(work)

    def _is_checked(self) -> bool:
        world = self.scene.world
        return (world.origin(self.table), self.old.column) in world.facts.checked

    def _is_indexed(self) -> bool:
        world = self.scene.world
        is_known = (world.origin(self.table), self.old.column) in world.facts.indexed
        return is_known or self.old.db_index or self.old.unique

    def _is_target(self) -> bool:
        both_keys = self.old.primary_key and self.new.primary_key
        return bool(both_keys or (self.old.unique and self.new.unique))

    def _fan_out(self, work: Work) -> Iterator[Impact]:
        """Django changes every column that refers to this one in the same transaction."""
        for _, relation in _related_non_m2m_objects(self.old, self.new):
            child = table_of(relation.related_model)
            yield Impact(
                rule="L006",
                table=child,
                lock=ALWAYS,
                work=work,
                what=f"Changing the type of {self.place} also changes {child}."
                f"{relation.field.column}, which points to it, and",
                cure=self._type_cure(),
            )
            if parent_of(relation.field):
                yield Impact(
                    rule="L011",
                    table=child,
                    lock=ALWAYS,
                    work=Work.CHECK_KEYS,
                    what=f"Making the foreign key {child}.{relation.field.column} again",
                    cure=self._type_cure(),
                )

    def _not_null(self) -> Iterator[Impact]:
        fills = self.new.has_default() or self.new.has_db_default()
        if fills:
            yield Impact(
                rule="L004",
                table=self.table,
                lock=ALWAYS,
                work=Work.UPDATE,
                what=f"Filling every NULL in {self.place} in one statement",
                cure=f'Backfill("{self.model_name}", "{self.name}", ...)  # in a migration before\n'
                f"{self._not_null_cure()}",
            )
        if not self.scene.world.proves_not_null(self.table, self.new.column):
            yield Impact(
                rule="L003",
                table=self.table,
                lock=ALWAYS,
                work=Work.SCAN,
                what=f"Adding NOT NULL to {self.place}",
                cure=self._not_null_cure(),
            )

    def _indexes_made(self) -> Iterator[Impact]:
        gains_unique = self.editor._unique_should_be_added(self.old, self.new)
        like = self.editor._create_like_index_sql(self.new.model, self.new) is not None
        if gains_unique:
            yield Impact(
                rule="L010",
                table=self.table,
                lock=ALWAYS,
                work=Work.BUILD,
                times=1 + like,
                what=f"Making {self.place} unique",
                cure=f"EnforceUnique({self._whole_field()})",
            )
        elif like and self._loses_like_index():
            yield Impact(
                rule="L005",
                table=self.table,
                lock=ALWAYS,
                work=Work.BUILD,
                what=f"Changing the type of {self.place}, whose index for LIKE is made again,",
                cure=self._type_cure(),
            )
        was_plain = not self.old.db_index or self.old.unique
        if was_plain and self.new.db_index and not self.new.unique:
            yield Impact(
                rule="L001",
                table=self.table,
                lock=Lock.SHARE,
                work=Work.BUILD,
                times=1 + (like and not self.old.unique),
                what=f"Building the index of {self.place}",
                cure=f"IndexFieldOnline({self._whole_field()})",
            )

    def _loses_like_index(self) -> bool:
        return bool(self.editor._is_changing_type_of_indexed_text_column(self.old, *self._types))

    def _foreign_key_made(self) -> Iterator[Impact]:
        parent = parent_of(self.new)
        is_needed = self._drops_foreign_key or not parent_of(self.old)
        if parent is None or not is_needed:
            return
        cure = f"EnforceForeignKey({self._whole_field()})"
        yield Impact(
            rule="L011",
            table=self.table,
            lock=Lock.SHARE_ROW_EXCLUSIVE,
            work=Work.CHECK_KEYS,
            what=f"Checking the foreign key of {self.place}",
            cure=cure,
        )
        if parent != self.table:
            yield Impact(
                rule="L011",
                table=parent,
                lock=Lock.SHARE_ROW_EXCLUSIVE,
                work=Work.NONE,
                what=f"Checking the foreign key of {self.place} locks {parent} as long.",
                cure=cure,
            )

    def _check(self) -> Iterator[Impact]:
        connection = self.scene.connection
        old, new = (
            each.db_parameters(connection=connection)["check"] for each in (self.old, self.new)
        )
        if old == new:
            return
        yield Impact(table=self.table, lock=ALWAYS)
        if new:
            yield Impact(
                rule="L012",
                table=self.table,
                lock=ALWAYS,
                work=Work.SCAN,
                what=f"Adding the CHECK of {type(self.new).__name__} to {self.place}",
                cure=f'EnforceCheck("{self.model_name}", models.CheckConstraint('
                f'condition=models.Q({self.name}__gte=0), name="..."))',
            )

    def _not_null_cure(self) -> str:
        return f"EnforceNotNull({self._whole_field()})"

    def _whole_field(self) -> str:
        return f'"{self.model_name}", "{self.name}", {code_of(self.new)}'

    def _type_cure(self) -> str:
        relations = _related_non_m2m_objects(self.old, self.new) if self._is_target() else ()
        if self.old.primary_key or self.old.remote_field or list(relations):
            return (
                "Nothing does this while others work, since it goes on through foreign keys: "
                "migrate in a maintenance window. `--rehearse` says how long it takes."
            )
        return f"ChangeTypeOnline({self._whole_field()})"

    def _alter_cure(self) -> str:
        if self.old.null and not self.new.null:
            return self._not_null_cure()
        return f"EnforceForeignKey({self._whole_field()})"
