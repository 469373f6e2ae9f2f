"""Versions that are too old are refused with a sentence: Python, Django, psycopg, PostgreSQL."""

import ast
import os
import re
import subprocess
import sys
import tomllib

import django
import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import NotSupportedError, connections

from deploy_ops import supported
from deploy_ops.databases import checks, database_for
from deploy_ops.databases.postgresql import server
from deploy_ops.errors import VersionRefused
from tests.docs.console import ROOT

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
OLD_PYTHON = "import sys; sys.version_info = (3, 10, 13, 'final', 0)"
OLD_DJANGO = "import django; django.VERSION = (5, 1, 15, 'final', 0)"
COMMAND = """
import sys; sys.argv = ["{program}", "check"]
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SERVER = "from django.core.wsgi import get_wsgi_application; get_wsgi_application()"
IN_PYTHON_3_10 = (
    "deploy_ops needs Python 3.11 or newer, and this is Python 3.10.13. Nothing was changed. "
    "Recreate the virtualenv with a newer one.\n"
)
IN_DJANGO_5_1 = (
    "deploy_ops needs Django 5.2 or newer, and this is Django 5.1.15. Nothing was changed. Install "
    "it:\n    pip install 'Django>=5.2'\n"
)
OLD = [(OLD_PYTHON, IN_PYTHON_3_10), (OLD_DJANGO, IN_DJANGO_5_1)]


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "tests.project.settings",
        "MEDIA_ROOT": "/nonexistent",
        "DATABASE_URL": "sqlite:////nonexistent.sqlite3",
    }
    argv = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("program", ["manage.py", "/srv/bin/django-admin", "django/__main__.py"])
@pytest.mark.parametrize(("old", "sentence"), OLD, ids=["python", "django"])
def test_a_command_ends_with_the_sentence_alone(program, old, sentence):
    result = run(old, COMMAND.format(program=program))
    assert (result.returncode, result.stdout, result.stderr) == (1, "", sentence)


@pytest.mark.parametrize(("old", "sentence"), OLD, ids=["python", "django"])
def test_a_server_gets_an_error_to_stop_at(old, sentence):
    result = run(old, SERVER)
    assert result.returncode == 1
    assert result.stderr.endswith(f"ImportError: {sentence}")


@pytest.mark.parametrize("path", ["__init__.py", "supported.py"])
def test_what_refuses_an_old_python_is_understood_by_it(path):
    ast.parse((ROOT / "deploy_ops" / path).read_text(), feature_version=(3, 7))


def test_pip_is_told_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={supported.PYTHON[0]}.{supported.PYTHON[1]}"
    [of_django] = [each for each in project["dependencies"] if each.startswith("Django")]
    assert of_django.startswith(f"Django>={supported.DJANGO[0]}.{supported.DJANGO[1]},")
    [of_psycopg] = project["optional-dependencies"]["postgresql"]
    assert of_psycopg.startswith(f"psycopg[binary]>={supported.PSYCOPG[0]}.{supported.PSYCOPG[1]}.")


@pytest.fixture(params=["3.1.18", "2.9.12", None])
def old_psycopg(request, monkeypatch):
    if request.param is None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
    else:
        monkeypatch.setattr(psycopg, "__version__", request.param)
    return f"psycopg {request.param[:3]}" if request.param else "cannot be loaded: "


@PG15
def test_psycopg(old_psycopg, django_alias):
    with pytest.raises(VersionRefused, match=re.escape(old_psycopg)) as refused:
        database_for(django_alias)
    assert "Nothing was changed." in str(refused.value)
    assert "\n    pip install 'psycopg[binary]>=3.2'" in str(refused.value)
    [finding] = checks.check_driver()
    assert (finding.id, finding.msg) == ("deploy_ops.C030", str(refused.value))


@PG15
def test_psycopg2_does_not_fail_the_application(django_alias, monkeypatch):
    """The handler of connection_created left out what only psycopg 3 has."""
    monkeypatch.setattr(type(connections[django_alias]).Database, "__name__", "psycopg2")
    monkeypatch.setenv("APP_VERSION", "1.2.3")
    connections[django_alias].close()
    with connections[django_alias].cursor() as cursor:
        cursor.execute("SELECT current_setting('application_name')")
        assert cursor.fetchone() == ("",)


def test_c030_is_silent_where_psycopg_is_new_enough_or_not_needed(monkeypatch):
    assert checks.check_driver() == []
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert checks.check_driver() == []  # the databases of this run are SQLite


@PG15
@pytest.mark.parametrize("argv", [["backup"], ["safe_migrate"], ["safe_migrate", "--plan"]])
def test_postgresql(argv, django_alias, monkeypatch):
    monkeypatch.setattr(server, "POSTGRESQL", 16)
    with pytest.raises(CommandError) as refused:
        call_command(*argv, "--database", django_alias, "--noinput")
    assert refused.value.returncode == 1
    assert re.match(
        r"deploy_ops needs PostgreSQL 16 or newer, and this is PostgreSQL 15\.\d+\. Nothing was "
        r"changed\. Upgrade the server first: https://",
        str(refused.value),
    )


def test_what_else_is_not_supported_is_no_refusal_of_the_server(django_alias, monkeypatch):
    """Exit code 1 says that nothing was changed, which nobody knows then."""

    def operate(_self, _options):
        raise NotSupportedError("DISTINCT ON fields is not supported by this database backend")

    monkeypatch.setattr("deploy_ops.management.commands.releases.Command.operate", operate)
    with pytest.raises(NotSupportedError, match="DISTINCT ON"):
        call_command("releases", "--database", django_alias)


@PG15
def test_postgresql_that_django_refuses(django_alias, monkeypatch):
    def refuse(_self):
        raise NotSupportedError("PostgreSQL 15 or later is required (found 14.23).")

    wrapper = type(connections[django_alias])
    monkeypatch.setattr(wrapper, "check_database_version_supported", refuse)
    monkeypatch.setattr("django.db.backends.base.base.RAN_DB_VERSION_CHECK", set())
    connections[django_alias].close()
    with pytest.raises(CommandError) as refused:
        call_command("safe_migrate", "--database", django_alias, "--noinput")
    assert str(refused.value) == (
        "PostgreSQL 15 or later is required (found 14.23). "
        f"Django {django.get_version()} refuses this database; stopped there."
    )
    assert refused.value.returncode == 1
