"""What operations of a migration do to each other in one transaction, or without any."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterator, Sequence

from django.core import checks
from django.db.migrations import Migration, RunPython, RunSQL

from deploy_ops.migrate.lint.estimate import BIG_BYTES, level_of, seconds_of
from deploy_ops.migrate.lint.finding import Finding, Place
from deploy_ops.migrate.lint.impact import Impact, Lock, Work
from deploy_ops.migrate.lint.locks import findings_of
from deploy_ops.migrate.lint.remark import Remark
from deploy_ops.migrate.lint.scene import World
from deploy_ops.migrate.lint.walk import Deed

CONCURRENT = ("AddIndexConcurrently", "RemoveIndexConcurrently")
OWN = "Put it into a migration of its own."


def transaction_findings(
    migration: Migration, deeds: Sequence[Deed], world: World, place: Place
) -> Iterator[Finding]:
    """Locks that are held over the work of others; and what has no transaction to undo it."""
    if migration.atomic:
        yield from _held(deeds, world)
        yield from _several_tables(deeds, world, place)
        yield from _concurrent(deeds)
    else:
        yield from _many_without(deeds, place)


def _held(deeds: Sequence[Deed], world: World) -> Iterator[Finding]:
    held: dict[str, Lock] = {}
    for deed in deeds:
        yield from findings_of(_validated(deed, held), deed.place, world)
        if held and _is_code(deed):
            yield from _code_under_lock(deed, held, world)
        for impact in deed.impacts:
            if impact.lock >= Lock.SHARE and not world.is_free(impact.table):
                held[impact.table] = max(impact.lock, held.get(impact.table, Lock.NONE))


def _validated(deed: Deed, held: dict[str, Lock]) -> Iterator[Impact]:
    """Reading that lets others write, were it not for the lock of an operation before."""
    for impact in deed.impacts:
        if impact.work in (Work.SCAN, Work.CHECK_KEYS) and not impact.rule:
            if impact.table in held:
                yield Impact(
                    rule="L018",
                    table=impact.table,
                    lock=held[impact.table],
                    work=impact.work,
                    what=f"Validating on {impact.table} in the transaction that has locked it",
                    cure=OWN,
                )


def _is_code(deed: Deed) -> bool:
    """Whether it is the author's code, or SQL that writes rows."""
    if isinstance(deed.operation, RunPython):
        return deed.operation.code is not RunPython.noop
    writes = any(each.work in (Work.UPDATE, Work.SAVE_EACH) for each in deed.impacts)
    return isinstance(deed.operation, RunSQL) and writes


def _code_under_lock(deed: Deed, held: dict[str, Lock], world: World) -> Iterator[Finding]:
    table, lock = max(held.items(), key=lambda item: item[1])
    known = world.table(table)
    seconds = seconds_of(Work.UPDATE, known)
    yield Remark(
        "L019",
        level_of(Work.UPDATE, known, seconds),
        f"{table} was locked ({lock.label}) by an operation before, in the same transaction: "
        f"{lock.waiting} wait until this is done.",
        OWN,
        table,
    ).at(deed.place)


def _several_tables(deeds: Sequence[Deed], world: World, place: Place) -> Iterator[Finding]:
    busy = {
        impact.table
        for deed in deeds
        for impact in deed.impacts
        if impact.lock >= Lock.SHARE and _is_busy(impact.table, world)
    }
    if len(busy) > 1:
        names = ", ".join(sorted(busy))
        yield Remark(
            "L020",
            checks.WARNING,
            f"One transaction locks {names}: a request that uses them in another order deadlocks "
            "with it, and everybody waits for the slowest.",
            "One migration for each table.",
        ).at(place)


def _is_busy(table: str, world: World) -> bool:
    known = world.table(table)
    return not world.is_free(table) and (known is None or known.heap_bytes >= BIG_BYTES)


def _concurrent(deeds: Sequence[Deed]) -> Iterator[Finding]:
    for deed in deeds:
        if type(deed.operation).__name__ in CONCURRENT:
            yield Remark(
                "L206",
                checks.ERROR,
                f"{type(deed.operation).__name__} cannot run inside a transaction: this fails.",
                "class Migration(migrations.Migration):\n    atomic = False",
            ).at(deed.place)


def _many_without(deeds: Sequence[Deed], place: Place) -> Iterator[Finding]:
    reaching = [deed for deed in deeds if deed.impacts and not deed.is_online]
    if len(reaching) > 1:
        yield Remark(
            "L207",
            checks.WARNING,
            f"{len(reaching)} operations run without a transaction: if one fails, those before it "
            "stay, and the migration cannot be run again.",
            "One such operation in each migration.",
        ).at(place)
