"""Comments beside operations, and where operations are written."""

import importlib.util
import sys

import pytest
from django.core import checks

from deploy_ops.migrate.lint.finding import Finding, Place
from deploy_ops.migrate.lint.source import source_of
from deploy_ops.migrate.lint.suppression import suppress

TEXT = """from django.db import migrations, models


class Migration(migrations.Migration):
    operations = [
        migrations.RemoveField("fahrt", "a"),
        # lint: allow L101: nobody has used it since 4.2
        # and this line says more about it
        migrations.RemoveField("fahrt", "b"),
        migrations.AddField(
            "fahrt",
            "c",
            models.IntegerField(),  # lint: allow L105, L009: planned downtime
        ),
        migrations.RemoveField("fahrt", "d"),  # lint: allow L101
        migrations.RunSQL("SELECT '# lint: allow L201: no comment'", ""),
    ]
"""


@pytest.fixture
def migration(tmp_path, monkeypatch):
    path = tmp_path / "sample_of_lint.py"
    path.write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("sample_of_lint", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sample_of_lint", module)
    spec.loader.exec_module(module)
    return module.Migration("0002_sample", "reise")


def found(rule, index):
    return Finding(rule, checks.ERROR, "x", place=Place("reise.0002_sample", index))


def left(migration, *findings):
    after = suppress(list(findings), source_of(migration), "reise.0002_sample")
    return sorted((each.rule, each.place.index) for each in after)


def test_every_operation_has_its_line(migration):
    source = source_of(migration)
    assert source.path == "sample_of_lint.py"
    assert [source.line_of(index) for index in range(5)] == [6, 9, 10, 15, 16]


def test_a_file_is_read_in_the_encoding_that_it_names(migration, tmp_path):
    """Python imports it; UTF-8 it is not."""
    text = f"# coding: latin-1\n# Größe\n{TEXT}"
    (tmp_path / "sample_of_lint.py").write_text(text, encoding="latin-1")
    source = source_of(migration)
    assert source.line_of(0) == 8 and len(source.allowances) == 4


def test_a_comment_allows_what_is_beside_it(migration):
    ids = left(migration, found("L101", 1), found("L105", 2), found("L009", 2))
    assert ids == [("L902", 3)]


def test_a_comment_allows_nothing_else(migration):
    ids = left(migration, found("L101", 0), found("L102", 1), found("L105", 2), found("L009", 2))
    assert ("L101", 0) in ids and ("L102", 1) in ids
    assert ("L901", 1) in ids


def test_a_comment_without_a_reason_allows_nothing(migration):
    ids = left(migration, found("L101", 3))
    assert ("L101", 3) in ids and ("L902", 3) in ids


def test_what_is_about_the_migration_is_allowed_beside_any_operation(migration):
    assert ("L009", -1) not in left(migration, found("L009", -1))


def test_a_list_that_code_makes_has_no_places(migration):
    migration.operations = migration.operations * 2
    source = source_of(migration)
    assert source.path and source.line_of(1) == 0
    assert left(migration, found("L101", 1)) != []
