"""Which backups are of a database's own past, once it was restored."""

import json
from datetime import UTC, datetime

import pytest

from deploy_ops.audit import AUDIT, Restore, restores_of
from deploy_ops.release.lineage import is_of_this_past
from tests.deploy_ops.phases.generate.stories import Shop
from tests.sample_apps.modelled import ModelledApp

START = """class Order(models.Model):
    note = models.CharField(max_length=50)
    pieces = models.IntegerField(default=1)
"""
LESS = START.replace("    note = models.CharField(max_length=50)\n", "")


def backup(minute):
    return f"20261128T12{minute:02}00Z-0123abcd"


def restores(*minutes):
    """Each at a minute, of the backup of another one."""
    return [Restore(datetime(2026, 11, 28, 12, at, tzinfo=UTC), backup(of)) for at, of in minutes]


@pytest.mark.parametrize(
    ("done", "past"),
    [
        ((), [10, 20, 30, 40, 50]),
        (((35, 20),), [10, 20, 40, 50]),
        # The second one brings back the time that the first one undid.
        (((35, 10), (45, 30)), [10, 20, 30, 50]),
        (((25, 10), (45, 30)), [10, 30, 50]),
        (((15, 10), (45, 10)), [10, 50]),
        # What was saved in the second of the restore was saved before it, most likely.
        (((40, 20),), [10, 20, 50]),
    ],
)
def test_what_restores_undid_is_no_past(done, past):
    minutes = [10, 20, 30, 40, 50]
    assert [each for each in minutes if is_of_this_past(backup(each), restores(*done))] == past


@pytest.mark.parametrize(
    ("at", "restores"),
    [
        ("2026-11-28T12:10:00", [Restore(datetime(2026, 11, 28, 12, 10, tzinfo=UTC), backup(5))]),
        ("soon", []),
        (7, []),
        (None, []),
    ],
)
def test_a_time_that_cannot_be_read_stops_nobody(tmp_path, at, restores):
    line = {"kind": "restore", "outcome": "done", "version": "", "at": at}
    line["details"] = {"database": "kvb", "backup": backup(5)}
    (tmp_path / AUDIT).write_text(json.dumps(line) + "\n")
    assert restores_of(tmp_path, "kvb") == restores


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_a_backup_without_the_column_is_not_one_on_which_the_old_release_works(
    project, database, django_alias
):
    """It was taken after a contract that the restore undid; by now the contract has run again."""
    app = ModelledApp(project.directory)
    project.with_apps(app.name).settings(DEPLOY_OPS_TWO_PHASE=True).env["APP_VERSION"] = "1.0.0"
    shop = Shop(project, app, django_alias)
    shop.start(START)
    project.env["APP_VERSION"] = "2.0.0"
    shop.change(LESS)
    shop.expand()
    between = project.json("backup", check=0)["backup"]
    shop.contract()
    how = "--in-place", "--noinput", "--confirm", database.name
    project.run("restore", between, *how, check=0)  # takes a backup before
    shop.contract()

    told = project.run("rollback", "--to", "1.0.0", "--plan", check=1).stdout
    assert f"It works on the schema of backup {between}" in told
    assert "no backup that its run took before is known here" in told
