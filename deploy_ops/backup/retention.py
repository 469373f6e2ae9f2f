"""Which backups to keep: a pure decision; deleting is upkeep's."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from deploy_ops.backup.entry import CLOCK_TOLERANCE, Backup, Level

PERIODS: Mapping[str, Callable[[datetime], object]] = {
    "daily": lambda moment: moment.date(),
    "weekly": lambda moment: moment.isocalendar()[:2],
    "monthly": lambda moment: (moment.year, moment.month),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the decision needs to know of a complete backup."""

    id: str
    taken_at: datetime
    is_verified: bool
    is_pinned: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """Ids to keep, with all reasons for each, and ids to drop; both oldest first."""

    keep: Mapping[str, tuple[str, ...]]
    drop: tuple[str, ...]


def candidates(backups: Iterable[Backup]) -> list[Candidate]:
    """Read of each backup what `choose` needs."""
    return [
        Candidate(
            backup.id,
            backup.created_at,
            backup.level.rank >= Level.READ.rank and not backup.failure,
            backup.is_pinned,
        )
        for backup in backups
    ]


def choose(
    backups: Sequence[Candidate],
    keep: Mapping[str, int],
    now: datetime,
    protected: Collection[str] = (),
) -> Choice:
    """Choose among the complete backups of one database, given oldest first.

    Kept are the newest `last`, and the newest of each of so many days, weeks and months (UTC)
    that have any. What is not verified or dated in the future neither counts nor is dropped.
    The last verified one, pinned ones and `protected` ones (a run refers to them) always stay.
    """
    sound = [each for each in backups if each.is_verified and not _is_future(each, now)]
    reasons: dict[str, list[str]] = {each.id: _exempt(each, now, protected) for each in backups}
    for name, chosen in _by_rule(sound[::-1], keep).items():
        for backup_id in chosen:
            reasons[backup_id].append(name)
    return Choice(
        {backup_id: tuple(why) for backup_id, why in reasons.items() if why},
        tuple(backup_id for backup_id, why in reasons.items() if not why),
    )


def _exempt(each: Candidate, now: datetime, protected: Collection[str]) -> list[str]:
    facts = {
        "pinned": each.is_pinned,
        "a run refers to it": each.id in protected,
        "not verified": not each.is_verified,
        "dated in the future": _is_future(each, now),
    }
    return [reason for reason, applies in facts.items() if applies]


def _by_rule(newest_first: Sequence[Candidate], keep: Mapping[str, int]) -> dict[str, list[str]]:
    ids = [each.id for each in newest_first]
    chosen = {"last verified": ids[:1], "last": ids[: keep["last"]]}
    for name, period in PERIODS.items():
        newest: dict[object, str] = {}
        for each in newest_first:
            newest.setdefault(period(each.taken_at.astimezone(UTC)), each.id)
        chosen[name] = list(newest.values())[: keep[name]]
    return chosen


def _is_future(each: Candidate, now: datetime) -> bool:
    return each.taken_at > now + CLOCK_TOLERANCE
