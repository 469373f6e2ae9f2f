"""Which operations of one file stand together, and which need a file of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.migrations import Migration
from django.db.migrations.operations import CreateModel
from django.db.migrations.operations.base import Operation

from deploy_ops.phases.generate.forms import FORMS
from deploy_ops.phases.generate.rewrite import COMMITS_ON_ITS_WAY, Group, place
from deploy_ops.phases.generate.scene import Scene

Formed = tuple[Operation, Sequence[Operation], Scene]


@dataclass(frozen=True)
class Division:
    """The migrations that one becomes; `origins` are places in the old one by identity."""

    groups: list[Group]
    origins: Mapping[int, int]


def is_detected(operation: Operation) -> bool:
    """Whether it is one that Django's autodetector writes; else it was written by hand."""
    return type(operation) in FORMS or isinstance(operation, CreateModel)


def divide(migration: Migration, formed: Sequence[Formed]) -> Division:
    """The operations of the safe form, in as few migrations as they allow.

    Those that were all detected are divided by tables too, as new ones are. Somebody who wrote
    code between them may rely on one transaction, so there only what commits on its way stands
    alone; and where there was no transaction there is none.
    """
    origins = {id(new): at for at, (_, news, _) in enumerate(formed) for new in news}
    if migration.atomic and all(is_detected(old) for old, _, _ in formed):
        groups = [Group()]
        for _, news, scene in formed:
            for new in news:
                place(groups, new, scene)
    else:
        groups = _kept_together(migration, formed)
    return Division(groups, origins)


def _kept_together(migration: Migration, formed: Sequence[Formed]) -> list[Group]:
    groups: list[Group] = []
    is_open = False
    for old, news, _ in formed:
        for new in news:
            was_alone = new is old and not migration.atomic
            is_alone = isinstance(new, COMMITS_ON_ITS_WAY) and not was_alone
            if is_alone or not is_open:
                groups.append(Group(atomic=migration.atomic and not is_alone))
            groups[-1].operations.append(new)
            is_open = not is_alone
    return groups or [Group(atomic=migration.atomic)]
