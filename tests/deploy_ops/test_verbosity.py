"""What `-v 0` to `-v 3` tell, the same of all commands."""

import re

import pytest


@pytest.mark.parametrize("postgresql_database", ["pg15"], indirect=True)
def test_from_what_was_asked_for_to_every_step(postgresql_project):
    project = postgresql_project
    project.with_apps("good_expand")
    everything = project.run("safe_migrate", "-v", "3", check=0).stdout
    assert re.search(r"^\S*pg_dump .*: \d+\.\d\d s$", everything, re.M)
    assert re.search(r"^Journal of run \S+: finished$", everything, re.M)
    programs = project.run("backup", "-v", "2", check=0).stdout
    assert re.search(r"^\S*pg_dump .*: \d+\.\d\d s$", programs, re.M)
    assert "Verifying the backup" in programs and "Journal" not in programs

    for quiet in (["backup"], ["backups", "pin", "latest"]):
        silent = project.run(*quiet, "-v", "0", check=0)
        assert (silent.stdout, silent.stderr) == ("", "")
    assert len(project.run("backups", "list", "-v", "0", check=0).stdout.splitlines()) == 4
