"""deploy_ops as another Django project gets it: from a wheel, not from this checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

DJANGO = ("5.2", "5.2.19", "6.0", "6.1", "6.1.99")
TOKEN = "metrics-of-a-bare-project-0123456789"
ROOT = Path(__file__).resolve().parents[2]


# What startproject makes is changed in nothing else; django_prometheus is not there for it.
SETTINGS = """
import os, sys

sys.modules["django_prometheus"] = None
INSTALLED_APPS += ["deploy_ops"]
MIDDLEWARE[:0] = [
    "deploy_ops.health.middleware.HealthMiddleware",
    "deploy_ops.metrics.page.MetricsMiddleware",
]
DEPLOY_OPS_METRICS_TOKEN_FILE = BASE_DIR / "metrics.token"
if "PGHOST" in os.environ:
    DATABASES["default"] = {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGNAME"]}
    DATABASES["default"] |= {"USER": "app", "HOST": os.environ["PGHOST"]}
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """stdout of a program that has to succeed."""
    needed = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8", **environment}
    result = subprocess.run(
        command, cwd=cwd, env=needed, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    # Setuptools writes build/ and *.egg-info beside pyproject.toml: not into the checkout.
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("kvb", "deploy_ops"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    run(sys.executable, *build, cwd=source)
    (path,) = out.glob("*.whl")
    return path


def test_wheel_has_every_file_of_deploy_ops_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "deploy_ops").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == expected
    assert {"deploy_ops/py.typed", "deploy_ops/docs/findings.md"} <= packed


def test_wheel_says_what_it_is_and_what_it_works_with(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert b"# kvb-admin and deploy_ops" in metadata.get_payload(decode=True)
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Classifier")) >= {
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)),
        *(f"Framework :: Django :: {version}" for version in ("5.2", "6.0", "6.1")),
    }


def test_no_extra_takes_a_django_away_that_is_supported(wheel):
    """What pip does to a project on the newest Django: `metrics` downgraded it to 6.0."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        needed = message_from_bytes(archive.read(name)).get_all("Requires-Dist")
    (supported,) = [each for each in map(Requirement, needed) if each.name == "Django"]
    packages = {each.name for each in map(Requirement, needed)} - {"Django"}
    for package in packages:
        for each in map(Requirement, distribution(package).requires or []):
            if each.name.lower() == "django" and each.marker is None:
                newest = [v for v in DJANGO if v in supported.specifier and v not in each.specifier]
                assert not newest, f"{package} wants {each}"


@pytest.fixture(scope="module")
def bare_project(wheel, tmp_path_factory) -> Path:
    """What startproject makes, with deploy_ops from the wheel and SETTINGS as only change."""
    directory = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "venv", cwd=directory)
    # The dependencies are those of this run; only deploy_ops itself has to come from the wheel.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = directory / "venv" / "lib" / version / "site-packages" / "dependencies.pth"
    borrowed.write_text(sysconfig.get_path("purelib"))
    python = directory / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=directory)
    run(python, "-m", "django", "startproject", "shop", ".", cwd=directory)
    (directory / "metrics.token").write_text(TOKEN)
    (directory / "metrics.token").chmod(0o600)
    with (directory / "shop" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    return directory


@pytest.fixture(scope="module")
def manage(bare_project):
    """Runs a command of the bare project, where each warning is an error."""
    python = bare_project / "venv" / "bin" / "python"

    def manage(*arguments: str, **environment: str) -> str:
        command = (python, "-W", "error", "manage.py", *arguments)
        return run(*command, cwd=bare_project, **environment)

    return manage


def test_bare_project_migrates_backs_up_and_restores(bare_project, manage):
    def people() -> str:
        code = "from django.contrib.auth.models import User as U; print(U.objects.count())"
        return manage("shell", "-v0", "-c", code).strip()

    def add_person(name: str) -> None:
        code = f"from django.contrib.auth.models import User as U; U.objects.create_user('{name}')"
        manage("shell", "-v0", "-c", code)

    manage("safe_migrate", "--noinput")
    add_person("anna")
    manage("backup", "--noinput")
    add_person("bert")
    assert people() == "2"
    manage("restore", "latest", "--noinput", "--confirm", "db.sqlite3")
    assert people() == "1"
    manage("check", "--deploy", "--tag", "deploy_ops")
    page = "from deploy_ops.management.lint import shown_page; print(open(shown_page()).read())"
    assert manage("shell", "-v0", "-c", page).startswith("# Findings")
    origin = "import deploy_ops; print(deploy_ops.__file__)"
    assert str(bare_project) in manage("shell", "-v0", "-c", origin)


def test_prometheus_client_alone_serves_metrics(manage):
    token = f"headers={{'Authorization': 'Bearer {TOKEN}'}}"
    code = f"from django.test import Client; print(Client().get('/metrics', {token}).text)"
    assert "deploy_ops_build_info" in manage("shell", "-v0", "-c", code)


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_bare_project_on_postgresql(manage, database):
    where = {"PGHOST": str(database.cluster.directory), "PGNAME": database.name}
    manage("safe_migrate", "--noinput", **where)
    assert "Healthy" in manage("health", **where)
    manage("backup", "--noinput", **where)
    drill = f"{database.name}_drill"
    manage("restore", "latest", "--noinput", "--into", drill, **where)
    assert drill in database.databases()
