"""`manage.py flags`: what it prints, what it leaves, and its exit codes."""

import json
import re
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from deploy_ops.flags.change import stored_rules
from deploy_ops.flags.declaration import Flag
from deploy_ops.flags.overview import flag_overview
from deploy_ops.flags.rules import Rules
from deploy_ops.models import FlagChange

pytestmark = pytest.mark.django_db


def run(*words: str, code: int = 0) -> str:
    """stdout and stderr of a command that ends with this exit code."""
    out = StringIO()
    try:
        call_command("flags", *words, stdout=out, stderr=out)
    except CommandError as error:
        assert error.returncode == code, out.getvalue()
    else:
        assert code == 0, out.getvalue()
    return out.getvalue()


def as_json(*words: str, code: int = 0):
    return json.loads(run(*words, "--format", "json", code=code).splitlines()[-1])


def rules() -> dict:
    return stored_rules("dark_mode")[0].as_json()


def test_list_shows_state_source_owner_and_last_change(monkeypatch, settings):
    run("off", "new_search", "--reason", "slow")
    monkeypatch.setenv("ENABLE_DARK_MODE", "5%")
    heading, *lines = run("list").splitlines()
    assert heading.split() == "FLAG STATE FROM OWNER CHANGED AGE BY NOTES".split()
    dark, search, old = (re.split(r"  +", line) for line in lines)
    assert dark == ["dark_mode", "5.00 %", "environment", "never", "forced by ENABLE_DARK_MODE"]
    assert search[:4] == ["new_search", "off", "database", "search"] and search[5] == "0 min"
    assert old == ["old_menu", "off", "default", "never", "TO BE REMOVED BY 2020-01-31"]


def test_stale_flags_end_with_1_so_that_ci_notices(settings):
    run("on", "dark_mode")
    settings.DEPLOY_OPS_FLAGS = {"old_menu": settings.DEPLOY_OPS_FLAGS["old_menu"]}
    text = run("list", "--stale", code=1)
    assert "TO BE REMOVED BY 2020-01-31" in text and "NOT DECLARED" in text
    assert as_json("list", "--stale", code=1)["status"] == "stale"
    run("clear", "dark_mode")
    settings.DEPLOY_OPS_FLAGS = {"dark_mode": Flag("x")}
    assert run("list", "--stale") == "No flag is stale.\n"


def test_on_off_set_and_reset_change_the_row():
    run("on", "dark_mode")
    assert rules() == {"everyone": True}
    run("off", "dark_mode")
    assert rules() == {"everyone": False}
    run("set", "dark_mode", "--percent", "0.25")
    assert rules() == {"percentage": "0.25"}
    run("clear", "dark_mode")
    assert stored_rules("dark_mode") == (None, 0)


def test_set_takes_every_rule_and_replaces_those_before(anna, pilots):
    run("set", "dark_mode", "--percent", "5")
    run("set", "dark_mode", "--user", "anna", "--group", "pilots", "--staff", "--superusers",
        "--from", "2027-01-01", "--until", "2027-02-01T08:00+01:00")  # fmt: skip
    assert rules() == {
        "users": [str(anna.pk)],
        "groups": ["pilots"],
        "staff": True,
        "superusers": True,
        "starts_at": "2026-12-31T23:00:00+00:00",
        "ends_at": "2027-02-01T07:00:00+00:00",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "No rule was given"),
        (["--user", "nobody"], "There is no user 'nobody'"),
        (["--group", "nobody"], "There is no group 'nobody'"),
    ],
)
def test_set_refuses_what_is_not_there(words, message):
    assert message in run("set", "dark_mode", *words, code=2)
    assert not FlagChange.objects.exists()


@pytest.mark.parametrize(
    "words", [["--percent", "101"], ["--from", "soon"], ["--until", "2027-02-30"]]
)
def test_set_refuses_what_cannot_be_read(words):
    with pytest.raises(CommandError):
        call_command("flags", "set", "dark_mode", *words)


def test_set_refuses_an_end_before_the_start():
    words = ["--from", "2027-02-01", "--until", "2027-01-01"]
    assert "would end" in run("set", "dark_mode", *words, code=1)


@pytest.mark.parametrize("action", ["show", "on", "off", "clear", "history"])
def test_unknown_flag_ends_with_2(action):
    assert "'drak_mode' is not declared" in run(action, "drak_mode", code=2)
    assert as_json(action, "drak_mode", code=2)["error"] == "UnknownFlag"


def test_same_again_is_nothing_to_do():
    run("on", "dark_mode")
    assert as_json("on", "dark_mode")["status"] == "nothing_to_do"
    assert FlagChange.objects.count() == 1


def test_change_says_what_was_what_is_and_when_it_holds(monkeypatch):
    assert run("on", "dark_mode") == (
        "dark_mode: as declared -> on\nEvery process sees it within 1 s.\n"
    )
    monkeypatch.setenv("ENABLE_DARK_MODE", "off")
    assert "no effect here: the environment forces" in run("set", "dark_mode", "--staff")


def test_history_tells_who_when_what_and_why():
    run("on", "dark_mode", "--reason", "The index is built.")
    run("off", "new_search")
    headings, newest, entry = run("history").splitlines()
    assert headings.split() == ["AT", "FLAG", "FROM", "TO", "BY", "SOURCE", "WHY"]
    assert "  new_search  as declared  off  " in newest
    assert "  dark_mode   as declared  on   " in entry and "@" in entry and "  cli" in entry
    assert entry.endswith("  The index is built.")
    assert len(run("history", "dark_mode").splitlines()) == 2
    [change] = as_json("history", "dark_mode")["changes"]
    assert (change["old"], change["new"]) == (None, {"everyone": True})
    assert change["source"] == "cli" and change["reason"] == "The index is built."


def test_show_tells_what_it_is_for_somebody_and_why(anna):
    run("set", "dark_mode", "--user", "anna")
    shown = as_json("show", "dark_mode", "--user", "anna")["flag"]
    assert (shown["enabled"], shown["reason"]) == (True, "database:users")
    assert shown["rules"] == {"users": [str(anna.pk)]}
    assert "reason: database:users" in run("show", "dark_mode", "--user", "anna")


def test_another_database_than_that_of_the_flags_is_refused(settings, monkeypatch):
    class Elsewhere:
        def db_for_write(self, _model, **_hints):
            return "ops"

    settings.DATABASE_ROUTERS = [Elsewhere()]
    assert "Flags are kept in the database 'ops'" in run("on", "dark_mode", code=2)


def test_on_and_off_keep_the_rollout_as_the_admin_does(anna):
    run("set", "dark_mode", "--percent", "5", "--user", "anna")
    said = run("off", "dark_mode").splitlines()[0]
    assert said == (
        f"dark_mode: 5.00 %, users {anna.pk} -> off (kept for later: 5.00 %, users {anna.pk})"
    )
    assert rules() == {"everyone": False, "percentage": "5.00", "users": [str(anna.pk)]}
    run("on", "dark_mode")
    assert rules() == {"everyone": True, "percentage": "5.00", "users": [str(anna.pk)]}


def test_dates_bound_what_is_on_for_everybody(set_rules):
    set_rules(everyone=True, percent="5", ends_at=datetime(2027, 1, 1, tzinfo=UTC))
    said = run("off", "dark_mode").splitlines()[0]
    date = "until 2027-01-01T00:00:00+00:00"
    assert said.endswith(
        f"on (kept for later: 5.00 %), {date} -> off (kept for later: 5.00 %), {date}"
    )


def test_history_outlives_row_and_declaration(settings):
    run("on", "dark_mode", "--reason", "for the party")
    settings.DEPLOY_OPS_FLAGS = {}
    run("clear", "dark_mode")
    assert "for the party" in run("history", "dark_mode")
    run("history", "never_was", code=2)


def test_lost_database_is_said_with_what_still_works(db):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE deploy_ops_flagstate RENAME TO gone")
    with transaction.atomic():
        said = run("list", code=1)
        transaction.set_rollback(True)  # as PostgreSQL wants after an error
    assert said.startswith("Flags cannot be read or changed: ") and "ENABLE_CSV_EXPORT=off" in said


def test_without_accounts_only_users_and_groups_are_refused(settings):
    settings.INSTALLED_APPS = ["deploy_ops", "django.contrib.contenttypes"]
    run("set", "dark_mode", "--percent", "5")
    for who in ("--user", "--group"):
        said = run("set", "dark_mode", who, "x", code=1)
        assert said.startswith("django.contrib.auth is not installed")


def test_row_that_the_environment_sets_aside_is_kept(monkeypatch):
    monkeypatch.setenv("ENABLE_DARK_MODE", "off")
    run("on", "dark_mode")
    found = flag_overview("dark_mode")
    assert found.rules == Rules(everyone=True) and found.is_on is False
