"""The command end to end, on a real project with a real database."""

import json

import pytest


@pytest.fixture
def trips(postgresql_project):
    """good_expand with a million rows, its first migration applied."""
    project = postgresql_project
    project.with_apps("good_expand")
    assert project.run("migrate", "--no-input").code == 0
    assert project.run("migrate", "good_expand", "0001").code == 0
    project.database.execute(
        "INSERT INTO good_expand_trip (purpose, km) SELECT 'x', n FROM generate_series(1, 1000000) n"
    )
    project.database.execute("ANALYZE")
    return project


PG15 = pytest.mark.parametrize("postgresql_database", ["pg15"], indirect=True)
LINE = "tests/sample_apps/good_expand/migrations/0003_km_index.py:8"


@PG15
def test_an_index_on_a_big_table_is_an_error_with_its_cure(trips, tmp_path):
    result = trips.run("lint_migrations", check=1)
    assert "Building the index good_expand_km on good_expand_trip reads 1.0 million rows" in (
        result.stdout
    )
    assert "AddIndexOnline(\"trip\", models.Index(fields=['km'], name='good_expand_km'))" in (
        result.stdout
    )
    assert f"{LINE}: Create index good_expand_km" in result.stdout
    assert "[deploy_ops.L001]  docs/reference/findings.md#l001" in result.stdout

    found = json.loads(trips.run("lint_migrations", "--format", "json", check=1).stdout)
    [finding] = found["findings"]
    assert (finding["id"], finding["level"], finding["lock"]) == (
        "deploy_ops.L001",
        "error",
        "SHARE",
    )
    assert finding["waiting"] == "writes" and 0.5 < finding["seconds"] < 10

    github = trips.run("lint_migrations", "--format", "github", check=1).stdout
    file = LINE.removesuffix(":8")
    assert github.startswith(f"::error file={file},line=8,title=deploy_ops.L001::Building the")
    assert "%0Afrom deploy_ops.phases import AddIndexOnline%0A" in github

    assert trips.run("lint_migrations", "auth").code == 0
    assert trips.run("lint_migrations", "nothing").code == 2

    baseline = str(tmp_path / "baseline.txt")
    path = tmp_path / "baseline.txt"
    assert trips.run("lint_migrations", "--write-baseline").code == 2
    trips.run("lint_migrations", "--all", "--write-baseline", "--baseline", baseline, check=0)
    assert "good_expand.0003_km_index L001 good_expand_trip" in path.read_text()
    quiet = trips.run("lint_migrations", "--all", "--baseline", baseline, check=0)
    assert "Nothing dangerous was found" in quiet.stdout
    path.write_text(path.read_text() + "good_expand.0002_cost_centre L005 good_expand_trip\n")
    stale = trips.run("lint_migrations", "--all", "--baseline", baseline, check=0)
    assert "[deploy_ops.L903]" in stale.stdout
    assert trips.run("lint_migrations", "--baseline", "/nowhere").code == 2


def test_a_new_database_has_nothing_to_wait_for(postgresql_project):
    postgresql_project.with_apps("good_expand", "deferred_constraint", "squashed_three")
    result = postgresql_project.run("lint_migrations", check=0)
    assert "deploy_ops.L00" not in result.stdout and "deploy_ops.L01" not in result.stdout


def test_two_phase_by_option_and_by_setting(sqlite_project):
    project = sqlite_project.with_apps("bad_lossy")
    project.run("migrate", "bad_lossy", "0001", check=0)
    assert "Nothing dangerous" in project.run("lint_migrations", "bad_lossy", check=0).stdout
    assert "[deploy_ops.L101]" in project.run("lint_migrations", "--two-phase", check=1).stdout
    project.settings(DEPLOY_OPS_TWO_PHASE=True)
    assert "[deploy_ops.L101]" in project.run("lint_migrations", check=1).stdout


@PG15
def test_safe_migrate_refuses_errors_and_changes_nothing(trips):
    before = trips.database.schema()
    refused = trips.run("safe_migrate", "--no-backup", check=1)
    assert "[deploy_ops.L001]" in refused.stderr and "Nothing was changed" in refused.stderr
    assert "Or go on all the same: --allow L001" in refused.stderr
    assert trips.database.schema() == before and trips.runs() == []
    assert trips.run("safe_migrate", "--no-backup", "--allow", "nothing").code == 2
    trips.run("safe_migrate", "--no-backup", "--allow", "L001", check=0)
    assert trips.database.schema() != before


def test_safe_migrate_refuses_what_breaks_the_running_release(sqlite_project):
    project = sqlite_project.with_apps("bad_lossy")
    project.run("migrate", "bad_lossy", "0001", check=0)
    project.settings(DEPLOY_OPS_TWO_PHASE=True)
    refused = project.run("safe_migrate", "bad_lossy", "0002", check=1)
    assert "[deploy_ops.L101]" in refused.stderr
    project.run("safe_migrate", "bad_lossy", "0002", "--allow", "deploy_ops.L101", check=0)
