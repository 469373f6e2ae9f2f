"""`releases`: everything that was done, in one table, also what a restore has rewound."""

import signal

import pytest

from tests.sample_apps.written import deploy_first

POSTGRESQL_15 = pytest.mark.parametrize("postgresql_database", ["pg15"], indirect=True)
KILLED = """
import os, signal
from deploy_ops.databases.postgresql import swap
original = swap.rename
def fatal(*args, **options):
    if "{moment}" == "after":
        original(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
swap.rename = fatal
from django.core.management import call_command
call_command("restore", "latest", "--noinput", "--confirm", "{name}")
"""


def releases(project):
    found = project.json("releases", check=0)["releases"]
    return [(each["kind"], each["outcome"]) for each in found]


def test_nothing_was_done_yet(project):
    assert "Nothing is recorded in" in project.run("releases", check=0).stdout


def test_restores_are_listed_with_who_and_what(project):
    project.with_apps("good_expand").run("safe_migrate", check=0)
    backup = project.json("backup", check=0)["backup"]
    consent = ["--noinput", "--confirm", project.database.name]
    project.run("restore", backup, *consent, check=0, env={"DEPLOY_BY": "anna", "APP_VERSION": "7"})
    drill = f"{project.database.name}_drill"
    project.run("restore", backup, "--into", drill, check=0)

    found = project.json("releases", check=0)["releases"]
    assert [(each["kind"], each["outcome"]) for each in found] == [
        ("restore", "done"),
        ("restore", "done"),
        ("migration", "done"),
    ]
    swapped = found[1]
    assert (swapped["by"], swapped["version"], swapped["subject"]) == ("anna", "7", backup)
    heading, first, *_ = project.run("releases", "--limit", "1", check=0).stdout.splitlines()
    assert heading.split() == "TIME AGE WHAT VERSION BEFORE OUTCOME TOOK BY WHY".split()
    assert heading.index("OUTCOME") == first.index("done")
    assert len(project.run("releases", "--limit", "1", check=0).stdout.splitlines()) == 2


def test_what_stopped_a_restore_is_listed(sqlite_project):
    project = sqlite_project
    project.with_apps("good_expand").run("safe_migrate", check=0)
    project.run("backup", check=0)
    code = (
        "from deploy_ops.restore import media, swap\n"
        "from deploy_ops.errors import RestoreRefused\n"
        "def stop(*args):\n    raise RestoreRefused('Rows were written. Nothing was changed.')\n"
        "swap._Door.pass_or_stop = stop\n"
        "from django.core.management import call_command\n"
        f"call_command('restore', 'latest', '--noinput', '--confirm', '{project.database.name}')"
    )
    project.run("shell", "-c", code)
    assert releases(project)[0] == ("restore", "refused")
    assert "Rows were written." in project.run("releases", check=0).stdout


@POSTGRESQL_15
@pytest.mark.parametrize(("moment", "outcome"), [("before", "failed"), ("after", "done")])
def test_a_killed_restore_ends_with_its_repair(postgresql_project, moment, outcome):
    project = postgresql_project
    project.with_apps("good_expand").run("migrate", check=0)
    project.run("backup", check=0)
    code = KILLED.format(moment=moment, name=project.database.name)
    assert project.run("shell", "-c", code).code == -signal.SIGKILL
    assert releases(project) == [("restore", "started")]
    project.run("restore", check=0)
    assert releases(project) == [("restore", outcome)]


@POSTGRESQL_15
def test_contracts_are_listed_once_and_those_with_nothing_to_do_are_not(postgresql_project):
    project = postgresql_project
    app = deploy_first(
        project,
        'migrations.CreateModel("order", [("id", models.BigAutoField(primary_key=True)), '
        '("note", models.CharField(max_length=50))]),',
    )
    app.migration("0002_change", 'Contract(migrations.RemoveField("order", "note")),')
    project.run("safe_migrate", "--no-backup", check=0)
    before = releases(project)
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert releases(project) == [("contract", "done"), *before]
