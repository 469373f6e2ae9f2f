"""Undoing the last change of a flag: from code and by the command."""

import pytest
from django.core.management import CommandError, call_command

from deploy_ops.errors import FlagConflict, InvalidRules, UnknownFlag
from deploy_ops.flags.change import Source, change_flag, last_change, stored_rules, undo_change
from deploy_ops.flags.rules import Rules
from deploy_ops.models import FlagChange

ON, OFF, STAFF = Rules(everyone=True), Rules(everyone=False), Rules(staff=True)


def change(rules, by="anna"):
    revision = stored_rules("dark_mode")[1]
    return change_flag(
        "dark_mode", rules, expected_revision=revision, by=by, source=Source.CODE, reason="why"
    )


def undo(entry):
    return undo_change(entry, by="bert", source=Source.CODE)


@pytest.mark.parametrize("before", [None, Rules(), ON, STAFF])
@pytest.mark.parametrize("after", [OFF, None])
def test_rules_from_before_come_back_and_the_history_says_who(db, before, after):
    change(STAFF if before is None else None) or change(before)
    if stored_rules("dark_mode")[0] != before:
        change(before)
    if before == after:
        return
    entry = undo(change(after))
    assert stored_rules("dark_mode")[0] == before
    assert (entry.by, entry.reason) == ("bert", f"Undoes change {entry.version - 1}, by anna.")


def test_undo_can_be_undone(db):
    undo(undo(change(STAFF)))
    assert stored_rules("dark_mode")[0] == STAFF


@pytest.mark.parametrize("later", [ON, None], ids=["on", "cleared"])
def test_only_the_last_change_can_be_undone(db, later):
    entry = change(STAFF)
    change(later, by="carla")
    with pytest.raises(FlagConflict, match="carla changed dark_mode"):
        undo(entry)
    assert stored_rules("dark_mode")[0] == later and FlagChange.objects.count() == 2


def test_two_times_without_a_row_are_told_apart(db):
    change(STAFF)
    first_time = change(None)
    change(ON)
    change(None, by="carla")
    with pytest.raises(FlagConflict, match="carla"):
        undo(first_time)
    assert stored_rules("dark_mode") == (None, 0) and FlagChange.objects.count() == 4


def test_what_can_be_no_more_does_not_come_back(db, settings):
    settings.DEPLOY_OPS_FLAGS_ATTRIBUTES = {"plan": "tests.deploy_ops.flags.shop.level_of"}
    change(Rules(attributes=frozenset({("plan", "pro")})))
    entry = change(ON)
    settings.DEPLOY_OPS_FLAGS_ATTRIBUTES = {}
    with pytest.raises(InvalidRules, match="no attribute 'plan'"):
        undo(entry)
    settings.DEPLOY_OPS_FLAGS = {}
    with pytest.raises(UnknownFlag):
        undo(entry)
    assert stored_rules("dark_mode")[0] == ON


def test_command_undoes_with_a_reason(db, capsys):
    change(STAFF)
    call_command("flags", "off", "dark_mode")
    call_command("flags", "undo", "dark_mode", "--reason", "It was the wrong flag.")
    assert "dark_mode: off (kept for later: staff) -> staff\n" in capsys.readouterr().out
    assert last_change("dark_mode").reason == "It was the wrong flag."


def test_command_says_that_there_is_nothing_to_undo(db, capsys):
    with pytest.raises(CommandError) as refused:
        call_command("flags", "undo", "dark_mode")
    assert refused.value.returncode == 2
    assert "dark_mode was never changed, so there is nothing to undo." in capsys.readouterr().err
