"""What an older release needs and somebody has taken away by hand: no migration tells of it."""

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error

from deploy_ops.databases import database_for
from deploy_ops.migrate.backwards import columns_of
from deploy_ops.phases.compat import Code
from deploy_ops.phases.snapshot import Snapshot

BY_HAND = "deploy_ops.R030"
LONGEST_BYTES = 63  # of a name in PostgreSQL, which cuts off the rest


def gone_by_hand(alias: str, code: Code, expected: Snapshot) -> Iterator[CheckMessage]:
    """Compare what a code needs, and migrations have made, with the tables that are there (R030).

    A name with a quote in it is no plain name, but SQL that leads to another schema.
    """
    database = database_for(alias)
    for name, needed in code.needs.tables.items():
        made = expected.tables.get(name)
        if made is None or '"' in name:
            continue
        there = {_stored(each) for each in columns_of(database, name) if each}
        for column in needed.columns.keys() & made.columns.keys():
            if _stored(column) not in there:
                yield Error(
                    f"{code} uses column {name}.{column}, which migrations have made and "
                    "which is not there: somebody has taken it away by hand.",
                    hint="Make it again by hand, as it was, or find the values in a backup.",
                    id=BY_HAND,
                )


def _stored(name: str) -> str:
    return name.encode()[:LONGEST_BYTES].decode(errors="ignore").lower()
