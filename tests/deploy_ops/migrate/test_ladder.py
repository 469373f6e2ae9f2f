"""The ladder, every combination of facts: what is chosen is what the page says."""

from itertools import product

import pytest

from deploy_ops.databases.base import Answer
from deploy_ops.migrate.ladder import Facts, OnFailure, Rung, choose

COMBINATIONS = list(
    product(
        OnFailure,
        (True, False),  # has_lock
        (True, False),  # failed_left_nothing
        (True, False),  # has_applied
        ((), ("a step is lossy",)),  # obstacles
        (True, False),  # has_backup
        Answer,  # others_wrote
        (True, False),  # accepts_loss
        ((), (Rung.REVERSED,), (Rung.RESTORED,), (Rung.REVERSED, Rung.RESTORED)),  # tried
    )
)


def facts_of(combination) -> tuple[OnFailure, Facts]:
    policy, *values, tried = combination
    return policy, Facts(*values, frozenset(tried))


def may_be(policy: OnFailure, facts: Facts) -> list[Rung]:
    """The rungs that hold, cheapest first, said once more in other words than the code's."""
    if not facts.has_lock:
        return []
    rungs = []
    if facts.failed_left_nothing and not facts.has_applied and not facts.tried:
        rungs.append(Rung.ROLLED_BACK)
    is_lossless = facts.failed_left_nothing and facts.obstacles == ()
    if policy in ("auto", "reverse") and facts.has_applied and is_lossless:
        rungs.append(Rung.REVERSED)
    is_lawful = facts.accepts_loss or facts.others_wrote in ("nobody", "unknown")
    if policy in ("auto", "restore") and facts.has_backup and is_lawful:
        rungs.append(Rung.RESTORED)
    return [rung for rung in rungs if rung not in facts.tried]


@pytest.mark.parametrize("policy", OnFailure)
def test_the_cheapest_rung_that_holds_is_chosen(policy):
    chosen = set()
    for combination in COMBINATIONS:
        asked, facts = facts_of(combination)
        if asked is policy:
            rung = choose(facts, asked)
            assert rung is next(iter(may_be(asked, facts)), Rung.MANUAL_INTERVENTION), facts
            chosen.add(rung)
    assert Rung.MANUAL_INTERVENTION in chosen and Rung.ROLLED_BACK in chosen


def test_what_is_unknown_is_never_called_rolled_back_or_reversed():
    for combination in COMBINATIONS:
        policy, facts = facts_of(combination)
        if not facts.failed_left_nothing:
            assert choose(facts, policy) in (Rung.RESTORED, Rung.MANUAL_INTERVENTION)
