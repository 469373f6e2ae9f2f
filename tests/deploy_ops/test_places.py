"""Where deploy_ops writes: nowhere by chance, nothing by looking, and never into packages."""

import subprocess
from pathlib import Path

import pytest

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError, NoDirectory
from deploy_ops.health.draining import is_draining
from deploy_ops.places import backup_directory, state_directory
from tests.docs.console import ROOT

SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
READING = (
    "backups list",
    "backups show latest",
    "backups prune",
    "contract list",
    "backfill list",
    "flags list",
    "releases",
    "health",
    "doctor",
    "lint_migrations",
    "safe_migrate --plan",
    "rollback --to v1 --plan",
    "check --deploy --tag deploy_ops",
)
WRITING = ("backup", "safe_migrate", "predeploy")


@pytest.fixture
def shop(project):
    """A project that says nothing of where to write but its BASE_DIR, which each test gives."""
    del project.env["DEPLOY_OPS_STATE_DIR"], project.env["DEPLOY_OPS_BACKUP_DIR"]
    return project.with_apps("good_expand")


def files_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@SQLITE
def test_commands_that_read_make_nothing(shop, tmp_path):
    shop.settings(BASE_DIR=str(tmp_path))
    shop.run("migrate", "deploy_ops", check=0)
    for words in READING:
        told = shop.run(*words.split())
        assert "Traceback" not in told.stderr, words
        assert files_below(tmp_path) == set(), words


@SQLITE
def test_what_is_made_is_private_and_ignored_by_git(shop, tmp_path):
    shop.settings(BASE_DIR=str(tmp_path))
    shop.run("safe_migrate", check=0)
    made = tmp_path / "var" / "deploy_ops"
    assert (made / ".gitignore").read_text() == "*\n"
    assert made.stat().st_mode & 0o777 == 0o700
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    status = ["git", "-C", tmp_path, "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(status, check=True, capture_output=True).stdout == b""


def packages(tmp_path):
    return {"BASE_DIR": str(tmp_path / "lib" / "python3.12" / "site-packages" / "shop")}


def named(tmp_path):
    """Not by its default, but by the setting itself, and past a link."""
    place = tmp_path / "usr" / "dist-packages"
    place.mkdir(parents=True)
    (tmp_path / "link").symlink_to(place)
    return {"DEPLOY_OPS_STATE_DIR": str(tmp_path / "link" / "ops")}


def nothing(_tmp_path):
    return {}


def none(_tmp_path):
    return {"BASE_DIR": None}


def relative(_tmp_path):
    return {"BASE_DIR": "."}


def relative_setting(_tmp_path):
    return {"DEPLOY_OPS_STATE_DIR": "var/ops"}


@SQLITE
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (packages, "lies among installed packages"),
        (named, "lies among installed packages"),
        (nothing, "the settings have no BASE_DIR"),
        (none, "the settings have no BASE_DIR"),
        (relative, "BASE_DIR is '.', a relative path"),
        (relative_setting, "DEPLOY_OPS_STATE_DIR is 'var/ops', a relative path"),
    ],
)
def test_no_place_to_write_to_is_refused_and_found(shop, tmp_path, given, said):
    shop.settings(**given(tmp_path))
    shop.run("migrate", "deploy_ops", check=0)
    before = files_below(tmp_path)
    for words in WRITING:
        refused = shop.run(words, check=1)
        assert said in refused.stderr + refused.stdout, words
        assert "Traceback" not in refused.stderr
    found = shop.json("doctor", check=1)["findings"]
    [told] = [each for each in found if each["id"] == "deploy_ops.C018"]
    assert said in told["message"]
    assert "C018" in shop.run("check", "--deploy", "--tag", "deploy_ops", check=1).stderr
    assert "deploy_ops" not in shop.run("check", check=0).stderr
    shop.run("health")
    assert files_below(tmp_path) == before and not (ROOT / "var" / "ops").exists()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_a_directory_that_others_may_use_names_the_setting(settings, tmp_path, findings, mode):
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path / "ops")
    state_directory("runs")
    (tmp_path / "ops").chmod(mode)
    with pytest.raises(ConfigurationError, match=r"open to other users.*\n +chmod 700") as error:
        state_directory()
    assert '\n    DEPLOY_OPS_STATE_DIR = "/var/lib/deploy_ops"' in str(error.value)
    assert str(error.value) == findings()["D006"].msg
    assert "D006" not in findings(deploy=False)


def test_backups_elsewhere_name_their_own_setting(settings, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path / "ops")
    settings.DEPLOY_OPS_BACKUP_DIR = tmp_path / "site-packages" / "backups"
    with pytest.raises(NoDirectory, match='\n    DEPLOY_OPS_BACKUP_DIR = "/var/lib/backups"'):
        backup_directory()
    settings.DEPLOY_OPS_BACKUP_DIR = tmp_path / "backups"
    assert backup_directory() == tmp_path / "backups"
    assert (tmp_path / "backups" / ".gitignore").read_text() == "*\n"


def test_backups_by_default_have_the_state_directory_made_first(settings, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path / "ops")
    del settings.DEPLOY_OPS_BACKUP_DIR
    assert backup_directory() == tmp_path / "ops" / "backups"
    assert (tmp_path / "ops" / ".gitignore").exists()


def test_a_place_that_cannot_be_made_names_the_setting(settings, tmp_path):
    """As a read-only file system: an OSError that no rights of root get past."""
    (tmp_path / "file").write_text("no directory")
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path / "file" / "ops")
    with pytest.raises(ConfigurationError, match="(?s)cannot be made.*DEPLOY_OPS_STATE_DIR = "):
        state_directory()


def test_an_instance_without_a_directory_answers_polls(settings):
    """Where nothing says where to write there is no drain file, and no poll fails for that."""
    for name in ("BASE_DIR", "DEPLOY_OPS_STATE_DIR", "DEPLOY_OPS_DRAIN_FILE"):
        if hasattr(settings, name):
            delattr(settings, name)
    with pytest.raises(NoDirectory):
        conf.drain_file.exists()
    assert not is_draining()
