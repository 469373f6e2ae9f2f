"""From what an operation does to findings: whose table, how big, how long."""

from collections.abc import Iterable, Iterator

from django.core import checks

from deploy_ops.migrate.lint.estimate import level_of, seconds_of, spoken_seconds, spoken_size
from deploy_ops.migrate.lint.finding import Finding, Place
from deploy_ops.migrate.lint.impact import Impact, Work
from deploy_ops.migrate.lint.scene import World

WORDS = {
    Work.SCAN: "reads {size}",
    Work.BUILD: "reads {size} for an index",
    Work.CHECK_KEYS: "looks up the keys of {size}",
    Work.REWRITE: "rewrites {size} and all indexes",
    Work.UPDATE: "updates {size}",
    Work.SAVE_EACH: "saves {size} one by one",
}


def findings_of(impacts: Iterable[Impact], place: Place, world: World) -> Iterator[Finding]:
    """Findings about tables that others use: not those that are new or empty."""
    for impact in impacts:
        if impact.rule and not world.is_free(impact.table):
            yield _finding(impact, place, world)


def _finding(impact: Impact, place: Place, world: World) -> Finding:
    table = world.table(impact.table)
    seconds = seconds_of(impact.work, table, impact.times)
    waiting = impact.lock.waiting
    if impact.work is Work.NONE:
        msg = f"{impact.what} {_moment(impact)}"
    else:
        work = WORDS[impact.work].format(size=spoken_size(table))
        time = "for a time that is not known" if seconds is None else spoken_seconds(seconds)
        msg = f"{impact.what} {work} while {waiting} wait ({time})."
    level = level_of(impact.work, table, seconds)
    return Finding(
        impact.rule,
        min(level, checks.WARNING) if impact.is_bounded else level,
        msg,
        place=place,
        cure=impact.cure,
        table=impact.table,
        lock=impact.lock.label,
        waiting=waiting,
        seconds=seconds,
    )


def _moment(impact: Impact) -> str:
    return (
        f"It takes a moment, but waits for every transaction that uses {impact.table}, and "
        f"{impact.lock.waiting} queue behind it meanwhile."
    )
