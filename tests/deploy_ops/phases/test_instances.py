"""What contract rows wait for, decided from facts."""

from datetime import UTC, datetime, timedelta

import pytest

from deploy_ops import history
from deploy_ops.conf import conf
from deploy_ops.databases.values import ClientSession
from deploy_ops.errors import ConfigurationError
from deploy_ops.history import released_versions
from deploy_ops.migrations import __path__ as migrations_path
from deploy_ops.phases.instances import HEARTBEATS_SINCE, Facts, Process, _connected, findings_of

NOW = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def facts(*releases, **changes):
    """One process of each release, as release 2.0 sees them; it recorded the waiting row."""
    known = {
        "processes": [Process(release, f"gunicorn of {release}") for release in releases],
        "waiting": {"2.0"},
        "running": "2.0",
        "history": ["1.0", "2.0"],
        "heartbeats_since": NOW - 30 * HOUR,
        "restored_at": None,
        "now": NOW,
        "within": 2 * HOUR,
    }
    return Facts(**known | changes)


def ids(looked_at):
    return [finding.id.removeprefix("deploy_ops.") for finding in findings_of(looked_at, "default")]


@pytest.mark.parametrize(
    "looked_at, expected",
    [
        (facts(), ["T004"]),
        (facts("2.0", "2.0"), ["T004"]),
        (facts("1.0", "2.0"), ["T001"]),
        (facts("1.0", "0.9"), ["T001", "T001"]),
        (facts("1.0", None), ["T001", "T002"]),
        (facts(None), ["T002"]),
        # Released later than the rows, on this host: its code knows the migration.
        (facts("2.1", history=["1.0", "2.0", "2.1"]), ["T004"]),
        (facts("2.1", history=[]), ["T001"]),
        # 2.1 runs and row 2.0 waits: processes of 2.0 do not need what it removes.
        (facts("2.0", running="2.1", history=["1.0", "2.0", "2.1"]), ["T004"]),
        (facts("2.0", running="2.1", history=[]), ["T004"]),
        (facts("2.0", running="2.1", waiting={"2.0", "2.1"}), ["T001"]),
        (facts("1.0", running="2.1", history=["1.0", "2.0", "2.1"]), ["T001"]),
        # Rolled back and released again: the code of 1.0 is still the older one.
        (facts("1.0", history=["1.0", "2.0"]), ["T001"]),
        (facts("1.0", waiting=set()), ["T001"]),
        (facts(running="unknown"), ["T003"]),
        (facts(heartbeats_since=None), ["T003"]),
        (facts(heartbeats_since=NOW - HOUR), ["T003"]),
        (facts(heartbeats_since=NOW - 2 * HOUR), ["T004"]),
        (facts(restored_at=NOW - HOUR), ["T003"]),
        (facts(restored_at=NOW - 2 * HOUR), ["T004"]),
    ],
)
def test_findings(looked_at, expected):
    assert ids(looked_at) == expected


def test_t001_says_who_and_what_to_do():
    [finding] = findings_of(facts("1.0"), "archive")
    assert finding.msg == (
        "Release 1.0 is still at work:\n- gunicorn of 1.0\n"
        "The contract phase removes what its statements need: they would fail."
    )
    assert finding.hint == (
        "Stop it, or let it end. The contract phase runs when no process of it was seen for 2 h "
        "(DEPLOY_OPS_CONTRACT_AFTER). Then run this again:\n"
        "    python manage.py safe_migrate --phase contract --database archive"
    )


def test_t003_says_how_long_to_wait():
    [finding] = findings_of(facts(heartbeats_since=NOW - timedelta(minutes=30)), "default")
    assert "only since 2026-11-26 19:30:00 UTC" in finding.msg
    assert finding.hint.startswith("Wait 90 min.")


def test_t004_says_that_it_was_looked():
    [finding] = findings_of(facts("2.0"), "default")
    assert finding.msg == (
        "No process of an older release is connected, and none was seen for 2 h. "
        "Seen of 2.0 or a release as new: 1."
    )


@pytest.mark.parametrize(
    "name", ["psql", "pg_dump", "deploy_ops/health", "pgAdmin 4 - DB:kvb", "deploy_ops/run-1"]
)
def test_sessions_of_tools_are_nobodys_code(name):
    assert not list(_connected([ClientSession(1, name, "", None)]))


def test_programs_of_the_project_are_nobodys_code_either():
    sessions = [ClientSession(1, "metabase 52", "", None), ClientSession(2, "meta", "", None)]
    assert [process.what for process in _connected(sessions, ("metabase",))] == [
        "meta, connected (server process 2)"
    ]


@pytest.mark.parametrize("names", [[""], [" "], [1]])
def test_name_that_would_be_everybodys_is_refused(settings, names):
    settings.DEPLOY_OPS_OTHER_PROGRAMS = names
    with pytest.raises(ConfigurationError, match="and no empty one"):
        assert conf.other_programs


@pytest.mark.parametrize("given", [90 * 60, 5400.0, timedelta(minutes=90)])
def test_time_is_seconds_or_a_timedelta(settings, given):
    settings.DEPLOY_OPS_CONTRACT_AFTER = given
    assert conf.contract_after == timedelta(minutes=90)


def test_time_is_longer_than_between_two_heartbeats(settings):
    settings.DEPLOY_OPS_CONTRACT_AFTER = 60
    with pytest.raises(ConfigurationError, match="must be two minutes or more"):
        assert conf.contract_after


def test_session_says_who_it_is():
    sessions = [
        ClientSession(4711, "gunicorn release=1.0", "10.0.0.3", NOW),
        ClientSession(4712, "", "", None),
        ClientSession(4713, "psql release=1.0", "", None),
    ]
    assert list(_connected(sessions)) == [
        Process(
            "1.0",
            "gunicorn release=1.0 from 10.0.0.3, connected since 2026-11-26 20:00:00 UTC "
            "(server process 4711)",
        ),
        Process(None, "a session without a name, connected (server process 4712)"),
        Process("1.0", "psql release=1.0, connected (server process 4713)"),
    ]


def test_migration_since_which_processes_say_that_they_are_alive_exists():
    from pathlib import Path

    assert Path(*migrations_path, f"{HEARTBEATS_SINCE[1]}.py").is_file()


def test_versions_are_in_the_order_of_their_first_release(settings, tmp_path):
    tmp_path.chmod(0o700)
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path)
    assert released_versions() == []
    for version in ("1.0", "2.0", "1.0", "2.0", "2.1"):
        history.record_release(history.Release(version, "", "", "default", None, []), {})
    assert released_versions() == ["1.0", "2.0", "2.1"]
