"""What a step without a transaction has left behind after its failure, as far as it can be told.

By default that is unknown: an equal schema says nothing about rows. Two facts can say more.
- A step that only builds or drops indexes concurrently writes no rows; each of its indexes is
  looked at, and an invalid one that nobody is building any more is dropped.
- Nobody at all, this run included, has changed a row of any table since the step began, and the
  catalogs are equal to the last row. That nobody else was connected says nothing here.
"""

from dataclasses import asdict, dataclass

from deploy_ops.databases.base import Answer, Database, IndexState, Json
from deploy_ops.migrate.plan import Index, Step


@dataclass(frozen=True, slots=True)
class Before:
    """What is noted before a step without a transaction, to compare with afterwards."""

    indexes: tuple[tuple[Index, IndexState | None], ...] | None
    write_position: Json
    catalogs: dict[str, str]

    def as_json(self) -> Json:
        """For the journal."""
        indexes = self.indexes and [
            {"index": asdict(index), "state": state and asdict(state)}
            for index, state in self.indexes
        ]
        return {
            "indexes": indexes,
            "write_position": self.write_position,
            "catalogs": self.catalogs,
        }

    @classmethod
    def from_json(cls, facts: Json) -> "Before":
        """As it was read back from the journal."""
        indexes = facts["indexes"] and tuple(
            (Index(**each["index"]), each["state"] and IndexState(**each["state"]))
            for each in facts["indexes"]
        )
        return cls(indexes, facts["write_position"], facts["catalogs"])


@dataclass(frozen=True, slots=True)
class Found:
    """Whether nothing is left, the fact that says so or does not, and indexes dropped meanwhile."""

    left_nothing: bool
    evidence: str
    dropped: tuple[str, ...] = ()


def note_before(database: Database, step: Step) -> Before:
    """Look at what the step is about to change."""
    if step.indexes is not None:
        states = tuple((each, database.index_state(each.name)) for each in step.indexes)
        return Before(states, {}, {})
    catalogs = database.catalog_digests()
    return Before(None, database.write_position() if catalogs else {}, catalogs)


def look_at_leftovers(database: Database, before: Before) -> Found:
    """Compare with what was noted; drops invalid indexes that are the step's own."""
    if before.indexes is not None:
        return _look_at_indexes(database, before.indexes)
    if not before.catalogs:
        return Found(False, "it runs without a transaction")
    writes = database.anybody_wrote(before.write_position)
    if writes.answer is not Answer.NOBODY:
        return Found(False, f"it runs without a transaction ({writes.evidence})")
    changed = [
        name
        for name, digest in database.catalog_digests().items()
        if before.catalogs.get(name) != digest
    ]
    if changed:
        return Found(False, f"it runs without a transaction, and {', '.join(changed)} changed")
    return Found(True, "no row of any table and no catalog was changed since it began")


def _look_at_indexes(
    database: Database, indexes: tuple[tuple[Index, IndexState | None], ...]
) -> Found:
    dropped = []
    for index, before in indexes:
        now = database.index_state(index.name)
        if now == before:
            continue
        is_own = before is None and now is not None and now.table == index.table
        if is_own and not now.is_valid and not now.is_being_built:  # type: ignore[union-attr]
            database.drop_index(index.name)
            dropped.append(index.name)
            continue
        return Found(False, f"index {index.name} is not as it was before", tuple(dropped))
    return Found(True, "it only builds or drops indexes, and each is as it was", tuple(dropped))
