"""Who has a flag: all of them counted, one of them with the reason."""

import json

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from deploy_ops.flags import audience
from deploy_ops.flags.audience import find_audience, state_with
from deploy_ops.flags.rules import Rules


@pytest.fixture
def people(anna, pilots):
    bert = User.objects.create_user("bert", is_staff=True)
    carla = User.objects.create_user("carla", is_active=False, is_staff=True)
    pilots.user_set.add(anna)
    return anna, bert, carla


def names(rules) -> set[str]:
    return set(find_audience(state_with("dark_mode", rules)).names)


def test_rules_that_are_not_stored_are_asked(people):
    assert names(Rules(groups=frozenset({"pilots"}))) == {"anna"}
    assert names(Rules(staff=True)) == {"bert"}  # carla cannot log in
    assert names(Rules(everyone=True)) == {"anna", "bert"}
    assert names(None) == set()


def test_groups_of_all_users_are_read_at_once(people, django_assert_num_queries):
    with django_assert_num_queries(3):
        names(Rules(groups=frozenset({"pilots"})))


def test_of_many_users_some_are_looked_at_and_that_is_said(people, monkeypatch, capsys):
    monkeypatch.setattr(audience, "LOOKED_AT", 2)
    call_command("flags", "on", "dark_mode")
    call_command("flags", "who", "dark_mode")
    out = capsys.readouterr().out
    assert "dark_mode: 1 of 2 users that were looked at, of 3: bert.\n" in out
    assert "Visitors without a login are not counted." in out


def test_command_says_of_somebody_whether_and_why(people, capsys):
    call_command("flags", "set", "dark_mode", "--group", "pilots")
    capsys.readouterr()
    call_command("flags", "who", "dark_mode", "bert", "anna")
    said = "anna: on (database:groups)\nbert: off (database:no_match)\n"
    assert sorted(capsys.readouterr().out.splitlines()) == said.splitlines()
    call_command("flags", "who", "dark_mode", "anna", "--format", "json")
    found = json.loads(capsys.readouterr().out)
    assert found["answers"] == [{"user": "anna", "enabled": True, "reason": "database:groups"}]


def test_environment_comes_first_here_too(people, monkeypatch, capsys):
    monkeypatch.setenv("ENABLE_DARK_MODE", "on")
    call_command("flags", "who", "dark_mode", "anna")
    assert capsys.readouterr().out == "anna: on (environment)\n"


@pytest.mark.parametrize("words", [["dark_mode", "nobody"], ["drak_mode"], ["drak_mode", "anna"]])
def test_command_refuses_what_is_not_there(people, words):
    with pytest.raises(CommandError) as refused:
        call_command("flags", "who", *words)
    assert refused.value.returncode == 2
