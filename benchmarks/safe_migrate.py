"""`safe_migrate --no-backup` beside Django's `migrate`, for a plan of many migrations and for none.

Both run as commands, start-up of Python and Django included, each time on a fresh database that
already has the tables of Django's own apps.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg import sql

from benchmarks.bench_database import Bench, bench
from benchmarks.machine import describe_machine
from benchmarks.pairs import (
    Cost,
    Ratio,
    by_round,
    interleave,
    print_costs,
    print_ratios,
    run,
    walls,
)
from tests.clusters import APP_ROLE
from tests.project.databases import SqliteDatabase
from tests.project.runner import DJANGO, Project
from tests.sample_apps.many import write_many_migrations

APP = "many"
MOST = 1.15
MOST_ONE_BY_ONE = 1.25
ONE, AROUND, EACH = "in one transaction", "around one that runs code", "one by one"
MIGRATE = ("migrate", APP, "--noinput")
SAFE_MIGRATE = ("safe_migrate", APP, "--no-backup", "--noinput")
# Migrations in a row that are cheap share a transaction; one that runs code is alone in its own
# (deploy_ops/migrate/plan.py, groups).
CODE = """from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("many", "0001_initial")]
    operations = [migrations.RunPython(migrations.RunPython.noop)]
"""
RUNS_CODE = "operations = [\n        migrations.RunPython(migrations.RunPython.noop),"
FOLLOWS_CODE = '("many", "0001_initial"), ("many", "0001_run_code")'


@dataclass(frozen=True)
class Place:
    """A project with the many migrations, and a database to copy afresh for every run."""

    title: str
    project: Project
    fresh: Callable[[], str]
    server_pid: int | None = None
    most: float = MOST

    def command(self, *argv: str) -> Cost:
        """Run a management command on a fresh copy."""
        env = self.project.env | {"DATABASE_URL": self.fresh()}
        return run([DJANGO[0], *DJANGO[3:], *argv], env, self.server_pid)


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench_") as directory:
        with bench(_below(directory, "postgresql"), options.major) as made:
            print("\n".join(describe_machine(Path(directory), [str(made.program("postgres"))])))
            ratios: list[Ratio] = []
            for base in (_on_postgresql(made), _on_sqlite(_below(directory, "sqlite"))):
                for place in _with_migrations(base, options.migrations):
                    ratios.append(_compare(place, options.rounds))
                ratios.append(_compare_nothing(place, options.rounds))
        print_ratios("Goals", ratios)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--migrations", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--major", type=int, default=15, help="of PostgreSQL; 15")
    return parser.parse_args()


def _compare(place: Place, rounds: int) -> Ratio:
    for argv in (MIGRATE, SAFE_MIGRATE):
        place.command(*argv)  # compiles the migrations, and warms the caches
    jobs = {
        "migrate": lambda: place.command(*MIGRATE),
        "safe_migrate": lambda: place.command(*SAFE_MIGRATE),
    }
    costs = interleave(jobs, rounds)
    print_costs(place.title, costs)
    values = by_round(walls(costs["safe_migrate"]), walls(costs["migrate"]))
    return Ratio(f"{place.title}: safe_migrate / migrate", values, place.most)


def _compare_nothing(place: Place, rounds: int) -> Ratio:
    """All applied: the answer should come as fast as that of `migrate --check`."""
    url = place.fresh()
    place.project.run(*MIGRATE, env={"DATABASE_URL": url}, check=0)
    still = replace(place, fresh=lambda: url)
    jobs = {
        "migrate --check": lambda: still.command("migrate", "--check"),
        "safe_migrate": lambda: still.command("safe_migrate", "--noinput"),
    }
    costs = interleave(jobs, rounds)
    title = f"{place.title.partition(',')[0]}, nothing to do"
    print_costs(title, costs)
    values = by_round(walls(costs["safe_migrate"]), walls(costs["migrate --check"]))
    return Ratio(f"{title}: safe_migrate / migrate --check", values, MOST)


def _with_migrations(base: Place, count: int) -> Iterator[Place]:
    """The same project with migrations of which none, one and each runs code."""
    for title in (ONE, AROUND, EACH):
        project = Project(_below(base.project.directory, title), base.project.database)
        project.with_apps(write_many_migrations(project.directory, count))
        migrations = project.directory / "generated" / APP / "migrations"
        if title == AROUND:
            _add_one_that_runs_code(migrations)
        if title == EACH:
            _let_each_run_code(migrations)
        most = MOST if title == ONE else MOST_ONE_BY_ONE
        yield replace(base, title=f"{base.title}, {title}", project=project, most=most)


def _let_each_run_code(migrations: Path) -> None:
    for path in migrations.glob("0*.py"):
        path.write_text(path.read_text().replace("operations = [", RUNS_CODE))


def _add_one_that_runs_code(migrations: Path) -> None:
    """Put a migration that runs code (and does nothing) second."""
    (migrations / "0001_run_code.py").write_text(CODE)
    second = next(migrations.glob("0002_*.py"))
    second.write_text(second.read_text().replace('("many", "0001_initial")', FOLLOWS_CODE))


def _on_postgresql(made: Bench) -> Place:
    made.project.run("migrate", check=0)

    def copy() -> str:
        made.cluster.drop_databases("fresh")
        names = map(sql.Identifier, ("fresh", made.name, APP_ROLE))
        made.cluster.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*names))
        made.checkpoint()
        return made.cluster.url("fresh")

    return Place("PostgreSQL", made.project, copy, made.server_pid)


def _on_sqlite(directory: Path) -> Place:
    database = SqliteDatabase(directory / "base.sqlite3")
    project = Project(directory, database)
    project.run("migrate", check=0)
    fresh = SqliteDatabase(directory / "fresh.sqlite3")

    def copy() -> str:
        shutil.copyfile(database.path, fresh.path)
        return fresh.url

    return Place("SQLite", project, copy)


def _below(directory: str | Path, name: str) -> Path:
    path = Path(directory, name)
    path.mkdir()
    return path


if __name__ == "__main__":
    main()
