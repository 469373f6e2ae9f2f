"""What a restore does about a hold file; that no request fails is tests/drills' to show."""

import pytest

from deploy_ops.hold_file import HoldFile


@pytest.fixture
def hold_file(tmp_path):
    return tmp_path / "run" / "hold"


@pytest.fixture
def restore(project, hold_file):
    """A project with a backup, whose restores hold requests."""
    project.run("migrate", check=0)
    project.run("backup", check=0)
    project.settings(DEPLOY_OPS_HOLD_SECONDS=2)
    confirm = "--noinput", "--confirm", project.database.name
    env = {"DEPLOY_OPS_HOLD_FILE": str(hold_file)}
    return lambda *options, check: project.run(
        "restore", "latest", *confirm, *options, env=env, check=check
    )


def test_nothing_is_held_any_more_in_the_end(restore, hold_file):
    assert "Holding new requests" in restore(check=0).stdout
    assert not HoldFile(hold_file).is_held()


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_processes_of_other_hosts_are_named_before_the_swap(restore, database):
    database.execute(
        "INSERT INTO deploy_ops_instance (release, host, program, pid, first_seen, seen_at)"
        " VALUES ('v1.2.3', 'web2', 'gunicorn', 7, now(), now()),"
        " ('v1.2.2', 'web3', 'gunicorn', 7, now(), now() - interval '1 hour')"
    )
    printed = restore(check=0).stdout
    assert "the swap will disconnect them:\n- gunicorn on web2, release v1.2.3\nHolding" in printed


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_file_that_cannot_be_used_stops_the_swap_unless_requests_may_fail(restore, hold_file):
    hold_file.parent.touch()
    assert f"{hold_file} cannot be used" in restore(check=1).stderr
    assert f"{hold_file} cannot be used" in restore("--end-requests", check=0).stdout


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_somebody_else_who_holds_requests_is_named(restore, hold_file, project):
    with HoldFile(hold_file).held("restore of another database"):
        stderr = restore(check=1).stderr
    assert "Requests are held already, by restore of another database" in stderr
    assert project.database.databases() == [project.database.name]
