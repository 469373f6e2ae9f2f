"""Plain Django, two peers and deploy_ops: the same application, migrated by each in its own way."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import DEFERRED as DEFERRED_PEER
from benchmarks.peers import ZERO as ZERO_PEER
from benchmarks.peers import make_environment
from benchmarks.zero_downtime_changes import DEFERRED, INITIAL, OURS, PLAIN, ZERO, Written
from tests.clusters import APP_ROLE, PostgresCluster
from tests.project.commands import REPOSITORY

TIMEOUT_SECONDS = 900
# What each package's README recommends; a setting that a tool does not know is nothing to it.
SETTINGS = """
import os

SECRET_KEY = "only-for-benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = os.environ["APPS"].split(",")
DATABASES = {
    "default": {
        "ENGINE": os.environ["ENGINE"],
        "NAME": os.environ["NAME"],
        "USER": os.environ["ROLE"],
        "HOST": os.environ["SOCKET"],
        "PORT": os.environ["PORT"],
    }
}
DEPLOY_OPS_TWO_PHASE = True
DEPLOY_OPS_CONTRACT_AFTER = 120
DEPLOY_OPS_STATE_DIR = os.environ["STATE"]
ZERO_DOWNTIME_MIGRATIONS_LOCK_TIMEOUT = "2s"
ZERO_DOWNTIME_MIGRATIONS_STATEMENT_TIMEOUT = "2s"
ZERO_DOWNTIME_MIGRATIONS_FLEXIBLE_STATEMENT_TIMEOUT = True
ZERO_DOWNTIME_MIGRATIONS_RAISE_FOR_UNSAFE = True
"""
MIGRATION = """
from django.db import migrations, models
{imports}


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [{dependencies}]
    operations = [{operations}]
"""


@dataclass(frozen=True)
class Tool:
    """How a package is used: its commands before and after the deployment of new code."""

    title: str
    python: Path
    apps: str
    before: Sequence[str]
    after: Sequence[str] = ()
    engine: str = "django.db.backends.postgresql"
    imports: str = ""
    needs: str = ""

    def write(self, directory: Path, migrations: Sequence[Written]) -> None:
        """Write the application with these migrations."""
        package = directory / "trips" / "migrations"
        package.mkdir(parents=True, exist_ok=True)
        for path in (package.parent / "__init__.py", package / "__init__.py"):
            path.touch()
        (directory / "bench_settings.py").write_text(SETTINGS)
        (package / "0001_initial.py").write_text(_migration(Written(INITIAL, atomic=True)))
        previous = "0001_initial"
        for number, each in enumerate(migrations, start=2):
            after = f'("trips", "{previous}"), {self.needs}'
            previous = f"{number:04}_change"
            text = _migration(each, after, self.imports)
            (package / f"{previous}.py").write_text(text)

    def run(
        self, directory: Path, argv: Sequence[str], cluster: PostgresCluster, name: str
    ) -> "Ended":
        """Run one of its commands on the database of that name."""
        state = directory / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{directory}:{REPOSITORY}",
            "DJANGO_SETTINGS_MODULE": "bench_settings",
            "APP_VERSION": "2",
            "APPS": f"{self.apps},trips",
            "ENGINE": self.engine,
            "NAME": name,
            "ROLE": APP_ROLE,
            "SOCKET": str(cluster.directory),
            "PORT": str(cluster.port),
            "STATE": str(state),
        }
        started = time.monotonic()
        done = subprocess.run(
            [str(self.python), "-m", "django", *argv],
            env=env,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        return Ended(done.returncode, time.monotonic() - started, done.stdout)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    seconds: float
    output: str

    @property
    def error(self) -> str:
        """The name of the exception that it said last, else the beginning of its last line."""
        named = re.findall(r"^(?:\w+\.)*(\w+(?:Error|Exception))\b", self.output, re.M)
        return named[-1] if named else (self.output.strip().splitlines() or [""])[-1][:90]


def tools(directory: Path, names: Sequence[str]) -> dict[str, Tool]:
    """Those that are here, by name; one that is not is told and left out."""
    found = {PLAIN: DJANGO, OURS: DEPLOY_OPS}
    for name, peer in ((ZERO, ZERO_PEER), (DEFERRED, DEFERRED_PEER)):
        if name in names and (python := make_environment(directory, peer)):
            found[name] = _zero(python) if name == ZERO else _deferred(python)
    return {name: found[name] for name in (PLAIN, ZERO, DEFERRED, OURS) if name in found}


DJANGO = Tool(
    "Django",
    Path(sys.executable),
    "django.contrib.contenttypes",
    before=("migrate", "trips", "--noinput"),
)
DEPLOY_OPS = Tool(
    "deploy_ops",
    Path(sys.executable),
    "deploy_ops,django.contrib.contenttypes,django.contrib.auth",
    before=("safe_migrate", "trips", "--no-backup", "--noinput"),
    after=("safe_migrate", "--phase", "contract", "--no-backup", "--noinput"),
    imports="from deploy_ops import phases",
    needs='("deploy_ops", "0003_backfill")',
)


def _zero(python: Path) -> Tool:
    return Tool(
        ZERO_PEER.title,
        python,
        DJANGO.apps,
        before=DJANGO.before,
        engine="django_zero_downtime_migrations.backends.postgres",
    )


def _deferred(python: Path) -> Tool:
    return Tool(
        DEFERRED_PEER.title,
        python,
        "deferred_migrations,django.contrib.contenttypes",
        before=("migrate_pre_deploy",),
        after=("migrate_post_deploy", "--fail-on-error"),
        imports="from deferred_migrations import operations as deferred",
        needs='("deferred_migrations", "0001_initial")',
    )


def _migration(written: Written, dependencies: str = "", imports: str = "") -> str:
    return MIGRATION.format(
        imports=imports,
        atomic=written.atomic,
        dependencies=dependencies,
        operations=written.operations,
    )
