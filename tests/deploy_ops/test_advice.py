"""Commands that messages advise can be typed as they are: quoted, and for the right database."""

import ast
import shlex
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from deploy_ops.advice import manage
from deploy_ops.backup.disk_space import check_free_space
from deploy_ops.backup.media import copy_media
from deploy_ops.databases import database_for
from deploy_ops.errors import BackupFailed, DatabaseUnavailable, RestoreRefused
from deploy_ops.management.confirmation import Confirmation
from deploy_ops.progress import Silent
from tests.docs.console import ROOT

ALIAS = "reise db"
DATABASE = ["--database", ALIAS]
# Django's has no --database; the lists are of all databases.
WITHOUT_DATABASE = ("makemigrations", "backups list", "runs", "check`")


@pytest.fixture
def reise_db(settings, tmp_path):
    """A second alias whose name and file have spaces in them."""
    # pylint: disable-next=import-outside-toplevel
    from django.db import connections

    path = tmp_path / "Reise Kosten.sqlite3"
    connections.settings[ALIAS] = {**connections.settings["default"]}
    connections.settings[ALIAS] |= {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
    yield path
    connections[ALIAS].close()
    del connections[ALIAS], connections.settings[ALIAS]


def commands(text):
    """The words of each command in a message."""
    lines = (line.strip() for line in str(text).splitlines())
    return [shlex.split(line)[2:] for line in lines if line.startswith("python manage.py")]


def test_a_command_is_quoted_and_names_its_database():
    assert manage("restore", "a b", alias=ALIAS) == (
        "    python manage.py restore 'a b' --database 'reise db'"
    )
    assert manage("backup", alias="default") == "    python manage.py backup"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "deploy_ops").rglob("*.py")), ids=lambda path: path.name
)
def test_no_message_spells_a_command_of_ours_itself(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    spelled = [
        rest
        for text in texts
        for rest in text.split("python manage.py ")[1:]
        if not rest.startswith(WITHOUT_DATABASE)
    ]
    assert not spelled


def test_a_full_disk_names_what_really_deletes(tmp_path):
    with pytest.raises(BackupFailed) as error:
        check_free_space(tmp_path, 10**18, ALIAS)
    prune = ["backups", "prune"]
    assert commands(error.value) == [[*prune, *DATABASE], [*prune, "--delete", *DATABASE]]


def test_a_file_that_never_holds_still_names_the_database(settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = str(tmp_path / "media")
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "beleg.pdf").write_bytes(b"%PDF")
    numbers = iter(range(100))
    monkeypatch.setattr("deploy_ops.backup.media._version", lambda status: (next(numbers), 0))
    with pytest.raises(BackupFailed) as error:
        copy_media(tmp_path / "copy", Silent(), alias=ALIAS)
    assert commands(error.value) == [["backup", "--media", *DATABASE]]


def test_a_missing_file_of_sqlite_names_the_database(reise_db):
    with pytest.raises(DatabaseUnavailable) as error:
        database_for(ALIAS).identify()
    assert commands(error.value) == [["safe_migrate", *DATABASE]]


@pytest.mark.parametrize(
    ("given", "report"), [(None, "--confirm is missing"), ("kvb", "--confirm kvb is another name")]
)
def test_a_consent_that_is_missing_shows_how_it_is_given(reise_db, given, report):
    options = {"id": "latest", "into": None, "in_place": True, "interactive": False}
    options |= {"trust_unauthenticated": False, "end_requests": True}
    options |= {"confirm": given, "database": ALIAS}
    with pytest.raises(RestoreRefused, match=report) as error:
        Confirmation(print, options).check_options()
    words = ["restore", "latest", "--noinput", "--confirm", str(reise_db), "--in-place"]
    words += ["--end-requests"]
    assert commands(error.value) == [[*words, *DATABASE]]


def test_an_alarm_names_the_database(reise_db, settings, tmp_path, capsys):
    reise_db.touch()
    settings.DEPLOY_OPS_BACKUP_DIR = tmp_path / "backups"
    with pytest.raises(CommandError):
        age = timedelta(hours=26)
        call_command("backups", "list", database=ALIAS, max_age=age)
    assert commands(capsys.readouterr().out) == [["backup", *DATABASE]]
