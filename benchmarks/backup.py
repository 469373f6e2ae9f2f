"""`backup` and `restore` beside bare pg_dump and pg_restore, and beside django-dbbackup.

Scale 100 is a database of about 2 GB. Parts: `backup` (time and memory), `restore` (time until the
databases are swapped), `swap` (how long clients are kept out).
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic

from psycopg import sql

from benchmarks.bench_database import Bench, bench, fill
from benchmarks.clients import Served, clients
from benchmarks.machine import describe_machine
from benchmarks.pairs import (
    Cost,
    Ratio,
    by_round,
    interleave,
    print_costs,
    print_ratios,
    print_table,
    run,
    walls,
)
from tests.project.runner import DJANGO

MOST = 1.15
LEAST_FASTER = 1.8
MOST_MB = 80
MOST_GAP_MS = 250
JOBS = "--jobs=2"
DUMP, BACKUP, DBBACKUP = "pg_dump -Fd -j2 -Z1", "backup --jobs 2", "dbbackup"
LOAD, RESTORE, DBRESTORE = "createdb, pg_restore -j2, ANALYZE", "restore latest", "dbrestore"


def main() -> None:
    """Measure the parts that were asked for, and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench_") as directory:
        with bench(Path(directory), options.major) as made:
            programs = [str(made.program(name)) for name in ("postgres", "pg_dump")]
            print("\n".join(describe_machine(Path(directory), programs)), flush=True)
            started = monotonic()
            fill(made, options.scale)
            print(f"{made.size_mb():.0f} MB, filled in {monotonic() - started:.0f} s", flush=True)
            ratios: list[Ratio] = []
            for name, measure in PARTS.items():
                if options.part in (name, "all"):
                    ratios += measure(made, options.rounds)
            print_ratios("Goals", ratios)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=100, help="100 is about 2 GB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--major", type=int, default=15, help="of PostgreSQL; 15")
    parser.add_argument("part", nargs="?", choices=[*PARTS, "all"], default="all")
    return parser.parse_args()


def measure_backup(made: Bench, rounds: int) -> list[Ratio]:
    """Time and memory of a backup."""
    phases: list[dict[str, float]] = []
    dump = made.project.directory / "dump"

    def bare() -> Cost:
        argv = [made.program("pg_dump"), "-Fd", "-j2", "-Z1", "-f", dump, made.name]
        with _cleared(dump):
            return _measured(made, argv)

    def ours() -> Cost:
        with _cleared(*_backups(made)):
            cost = _command(made, "backup", JOBS, "--format=json")
            phases.append(_last_json(cost)["seconds"])
            return cost

    def theirs() -> Cost:
        with _cleared(*_dbbackups(made).iterdir()):
            return _command(made, "dbbackup", "--noinput", env=_dbbackup_env(made))

    bare()  # reads the database into memory
    costs = interleave({DUMP: bare, BACKUP: ours, DBBACKUP: theirs}, rounds)
    print_costs(f"Backup of {made.size_mb():.0f} MB", costs)
    _print_phases(phases)
    without_verify = [
        cost.wall_seconds - seconds["verify"]
        for cost, seconds in zip(costs[BACKUP], phases, strict=True)
    ]
    bare_walls, our_walls, their_walls = (walls(costs[name]) for name in (DUMP, BACKUP, DBBACKUP))
    peaks = [cost.peak_mb for cost in costs[BACKUP]]
    return [
        Ratio("backup without verify / pg_dump", by_round(without_verify, bare_walls), MOST),
        Ratio("backup / pg_dump", by_round(our_walls, bare_walls), MOST),
        Ratio("dbbackup / backup without verify", by_round(their_walls, without_verify), *FASTER),
        Ratio("dbbackup / backup", by_round(their_walls, our_walls), *FASTER),
        Ratio("peak memory of backup, MB", peaks, MOST_MB),
    ]


FASTER = (LEAST_FASTER, True)


def measure_restore(made: Bench, rounds: int) -> list[Ratio]:
    """Time from the backup to the swapped database, and the proof of the hashes alone."""
    with _one_backup(made) as archive:
        name = "bare"
        script = (
            f'createdb {name} && pg_restore -j2 -d {name} "{archive}" && psql -qc ANALYZE {name}'
        )

        def bare() -> Cost:
            cost = _measured(made, ["sh", "-c", script])
            made.cluster.drop_databases(name)
            return cost

        def ours() -> Cost:
            cost = _restore(made)
            _drop_previous(made)
            return cost

        costs = interleave({LOAD: bare, RESTORE: ours}, rounds)
        print_costs(f"Restore of {made.size_mb():.0f} MB", costs)
        proofs = {
            f"backups verify --level {level}": lambda level=level: _command(
                made, "backups", "verify", "latest", f"--level={level}"
            )
            for level in ("manifest", "hash", "read")
        }
        print_costs("Verifying the same backup", interleave(proofs, rounds))
    values = by_round(walls(costs[RESTORE]), walls(costs[LOAD]))
    peaks = [cost.peak_mb for cost in costs[RESTORE]]
    return [
        Ratio("restore / createdb, pg_restore, ANALYZE", values, MOST),
        Ratio("peak memory of restore, MB", peaks, MOST_MB),
    ]


def measure_swap(made: Bench, rounds: int) -> list[Ratio]:
    """How long clients get nothing while the database is restored."""
    gaps: dict[str, list[Served]] = {RESTORE: [], DBRESTORE: []}

    def ours() -> Cost:
        with clients(made.project.database.url) as served:
            cost = _restore(made)
        gaps[RESTORE] += served
        _drop_previous(made)
        return cost

    def theirs() -> Cost:
        with clients(made.project.database.url) as served:
            cost = _command(made, "dbrestore", "--noinput", env=_dbbackup_env(made))
        gaps[DBRESTORE] += served
        return cost

    _command(made, "dbbackup", "--noinput", env=_dbbackup_env(made))
    with _one_backup(made):
        costs = interleave({RESTORE: ours, DBRESTORE: theirs}, rounds)
    print_costs("Restore while clients read", costs)
    head = ["job", "longest time without a row, ms", "with a refusal in it, ms"]
    head += ["refused", "rows read"]
    rows = [[name, *_gap_cells(runs)] for name, runs in gaps.items()]
    print_table("Clients that connect and read one row", head, rows)
    values = [served.refused_gap_ms for served in gaps[RESTORE]]
    return [Ratio("time in which no client could connect, ms", values, MOST_GAP_MS)]


PARTS: dict[str, Callable[[Bench, int], list[Ratio]]] = {
    "backup": measure_backup,
    "restore": measure_restore,
    "swap": measure_swap,
}


def _command(made: Bench, *argv: str, env: dict[str, str] | None = None) -> Cost:
    """Measure a management command."""
    return _measured(made, [DJANGO[0], *DJANGO[3:], *argv], env)


def _measured(made: Bench, argv: list[object], env: dict[str, str] | None = None) -> Cost:
    made.checkpoint()
    return run(argv, env or made.env, made.server_pid)


def _restore(made: Bench) -> Cost:
    return _command(made, "restore", "latest", "--noinput", f"--confirm={made.name}", JOBS)


def _drop_previous(made: Bench) -> None:
    for name in made.cluster.databases():
        if name.startswith(f"{made.name}_before_restore_"):
            made.cluster.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def _dbbackup_env(made: Bench) -> dict[str, str]:
    """django-dbbackup with its defaults; it takes the server from libpq's variables."""
    file_system = "django.core.files.storage.FileSystemStorage"
    storages = {
        "default": {"BACKEND": file_system},
        "staticfiles": {"BACKEND": file_system},
        "dbbackup": {"BACKEND": file_system, "OPTIONS": {"location": str(_dbbackups(made))}},
    }
    return made.env | {
        "SAMPLE_APPS": "dbbackup.apps.DbbackupConfig",
        "SETTINGS_OVERRIDES": json.dumps({"STORAGES": storages}),
    }


def _dbbackups(made: Bench) -> Path:
    directory = made.project.directory / "dbbackups"
    directory.mkdir(exist_ok=True)
    return directory


def _backups(made: Bench) -> list[Path]:
    return [path for path in made.project.backups_dir.iterdir() if path.is_dir()]


@contextmanager
def _one_backup(made: Bench) -> Iterator[Path]:
    """Take a backup to restore; yield the archive in it."""
    with _cleared(*_backups(made)):
        _command(made, "backup", JOBS)
    [backup] = _backups(made)
    yield backup / "database"
    shutil.rmtree(backup)


@contextmanager
def _cleared(*left: Path) -> Iterator[None]:
    """Remove what the run before left, outside the measured time."""
    for path in left:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    yield


def _last_json(cost: Cost) -> dict:
    return json.loads(cost.output.splitlines()[-1])


def _print_phases(phases: list[dict[str, float]]) -> None:
    rows = [[phase, f"{median(seconds[phase] for seconds in phases):.2f}"] for phase in phases[0]]
    print_table("Phases of backup, from its manifest", ["phase", "s, median"], rows)


def _gap_cells(runs: list[Served]) -> list[str]:
    return [
        _spread([served.longest_gap_ms for served in runs]),
        _spread([served.refused_gap_ms for served in runs]),
        _spread([len(served.refused) for served in runs]),
        _spread([len(served.rows) for served in runs]),
    ]


def _spread(values: list[float]) -> str:
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


if __name__ == "__main__":
    main()
