"""The command end to end, on a real project with a real database."""

import pytest


@pytest.fixture
def trips(postgresql_project):
    """good_expand with rows, its first migration applied."""
    project = postgresql_project
    project.with_apps("good_expand")
    assert project.run("migrate", "good_expand", "0001").code == 0
    project.run("migrate", "auth")
    project.run("migrate", "deploy_ops")
    project.database.execute(
        "INSERT INTO good_expand_trip (purpose, km) SELECT 'x', n FROM generate_series(1, 200000) n"
    )
    project.database.execute("ANALYZE")
    return project


def test_an_index_on_a_table_with_rows_is_found_with_its_cure(trips):
    result = trips.run("lint_migrations")
    assert result.code == 0, result.stderr
    assert (
        "Building the index good_expand_km on good_expand_trip reads 200000 rows" in result.stdout
    )
    assert (
        "AddIndexOnline(\"trip\", models.Index(fields=['km'], name='good_expand_km'))"
        in result.stdout
    )
    assert "[deploy_ops.L001]" in result.stdout
    assert "tests/sample_apps/good_expand/migrations/0003_km_index.py:8" in result.stdout
