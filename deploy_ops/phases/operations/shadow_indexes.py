"""What new code needs on a shadow for its queries and for ON CONFLICT; it goes with the shadow."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Index, Model, UniqueConstraint

from deploy_ops.phases.operations.twins import own_name


@dataclass(frozen=True, slots=True)
class ShadowIndexes:
    """Those of a field that gets another name, as the model before has them.

    What the models declare has the old name still: the migrations that follow change it.
    """

    app: str
    model: type[Model]
    old_name: str
    new: Any

    def all(self) -> Iterator[Index | UniqueConstraint]:
        """One for each that PostgreSQL could use, without conditions and expressions."""
        if self.new.unique:
            yield UniqueConstraint(fields=[self.new.name], name=self._name("unique"))
        elif self.new.db_index:
            yield Index(fields=[self.new.name], name=self._name("index"))
        for each in self._declared():
            names = list(getattr(each, "fields", ()))
            renamed = [self._renamed(name) for name in names]
            if renamed != names and not getattr(each, "condition", None):
                yield self._twin(each, renamed)

    def _declared(self) -> Iterator[Any]:
        options = self.model._meta
        yield from (*options.indexes, *options.constraints)
        for names in options.unique_together:
            yield UniqueConstraint(fields=names, name=" ".join(names))

    def _twin(self, each: Any, names: list[str]) -> Index | UniqueConstraint:
        """What is unique at the end of a transaction only must not be so at each statement."""
        name = self._name(each.name)
        if not isinstance(each, UniqueConstraint) or each.deferrable:
            return Index(fields=names, name=name)
        return UniqueConstraint(fields=names, name=name, nulls_distinct=each.nulls_distinct)

    def _renamed(self, name: str) -> str:
        """A field of an index, which may have a sign for its order."""
        sign = "-" if name.startswith("-") else ""
        return f"{sign}{self.new.name}" if name.removeprefix("-") == self.old_name else name

    def _name(self, kind: str) -> str:
        return own_name(f"{self.app}.{self.model._meta.model_name} {self.new.name} {kind}")
