"""Which recovery step to take, by facts. Pure: nothing is looked up here.

docs/explanation/recovery-ladder.md has the same as a table, and tests/deploy_ops/migrate/
test_ladder.py every combination.
"""

from dataclasses import dataclass
from enum import StrEnum

from deploy_ops.databases.base import Answer


class OnFailure(StrEnum):
    """Which recovery steps the operator allows."""

    AUTO = "auto"
    REVERSE = "reverse"
    RESTORE = "restore"
    STOP = "stop"


class Rung(StrEnum):
    """How a failed run was recovered."""

    NOT_NEEDED = "not_needed"
    ROLLED_BACK = "rolled_back"
    REVERSED = "reversed"
    RESTORED = "restored"
    MANUAL_INTERVENTION = "manual_intervention"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known after a failure.

    `failed_left_nothing`: the failed step's transaction aborted, or what it left was looked at.
    `has_applied`: this run committed steps. `obstacles`: why undoing these is not lossless, as far
    as it can be told beforehand. `others_wrote`: since the backup began; it is restored where
    that is NOBODY, or UNKNOWN until the database is closed and asked again. `tried`: steps that
    failed.
    """

    has_lock: bool
    failed_left_nothing: bool
    has_applied: bool
    obstacles: tuple[str, ...]
    has_backup: bool
    others_wrote: Answer
    accepts_loss: bool
    tried: frozenset[Rung] = frozenset()


REVERSES = frozenset({OnFailure.AUTO, OnFailure.REVERSE})
RESTORES = frozenset({OnFailure.AUTO, OnFailure.RESTORE})
PROVABLE = frozenset({Answer.NOBODY, Answer.UNKNOWN})


def choose(facts: Facts, policy: OnFailure) -> Rung:
    """Return the least destructive step that loses nothing; MANUAL where none is left."""
    if not facts.has_lock:
        return Rung.MANUAL_INTERVENTION  # another deployment may be at work
    # After a step that failed something is left to explain, even if no step is applied.
    if facts.failed_left_nothing and not facts.has_applied and not facts.tried:
        return Rung.ROLLED_BACK
    if _may_reverse(facts, policy):
        return Rung.REVERSED
    if _may_restore(facts, policy):
        return Rung.RESTORED
    return Rung.MANUAL_INTERVENTION


def _may_reverse(facts: Facts, policy: OnFailure) -> bool:
    is_allowed = policy in REVERSES and Rung.REVERSED not in facts.tried
    is_lossless = facts.failed_left_nothing and not facts.obstacles
    return is_allowed and facts.has_applied and is_lossless


def _may_restore(facts: Facts, policy: OnFailure) -> bool:
    is_allowed = policy in RESTORES and Rung.RESTORED not in facts.tried and facts.has_backup
    return is_allowed and (facts.accepts_loss or facts.others_wrote in PROVABLE)
