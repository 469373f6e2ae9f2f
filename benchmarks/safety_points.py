"""How long a safety point takes at each size: `python -m benchmarks.safety_points [--gb 2,8,20]`.

One database grows; at each size `safe_migrate` runs one cheap migration, with a clone and, up to
--dump-gb, with a dump. Of each run: how long the safety point took, and how long after the command
was started the first migration began. With --xfs (as root) the server's files lie on XFS with
reflink, on a loop device; else in /tmp.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.machine import describe_machine
from tests.clusters import PostgresCluster
from tests.project.databases import PostgresDatabase
from tests.project.runner import Project

# Rows of a new table are not logged with these; only the filling is faster by it.
SETTINGS = "max_wal_size = 4GB\nwal_level = minimal\nmax_wal_senders = 0\nshared_buffers = 512MB\n"
ROWS_PER_GB = 524_288  # of 1.9 kB, which is not yet compressed
FILL = """
    CREATE TABLE filler_{n} WITH (autovacuum_enabled = false) AS
    SELECT n AS id, repeat(md5(n::text), 58) AS body FROM generate_series(1, {rows}) AS n
"""
APP = "good_expand"
Json = dict[str, Any]


def main() -> None:
    """Grow, migrate, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", default="2,8,20", help="sizes, with commas")
    parser.add_argument("--dump-gb", type=int, default=2, help="the largest size that is dumped")
    parser.add_argument("--major", type=int, default=18)
    parser.add_argument("--xfs", action="store_true", help="on XFS on a loop device; as root")
    asked = parser.parse_args()
    sizes = [int(each) for each in asked.gb.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        place = xfs(Path(scratch), 2 * max(sizes) + 4) if asked.xfs else nullcontext(Path("/tmp"))
        with place as base, server(asked.major, base) as cluster:
            print("\n".join(describe_machine(base, [str(cluster.bindir / "postgres")])))
            print(
                "\n| GB | safety point | s | until the first migration begins, s |\n|---|---|---|---|"
            )
            measure(cluster, Path(scratch), sizes, asked.dump_gb)


@contextmanager
def xfs(scratch: Path, gigabytes: int) -> Iterator[Path]:
    """A file system that shares blocks, in a file."""
    image, mounted = scratch / "xfs.img", scratch / "xfs"
    mounted.mkdir()
    with open(image, "wb") as file:
        file.truncate(gigabytes * 2**30)
    for argv in (
        ["mkfs.xfs", "-q", "-m", "reflink=1", image],
        ["mount", "-o", "loop", image, mounted],
    ):
        subprocess.run(argv, check=True)
    mounted.chmod(0o777)
    scratch.chmod(0o755)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)


@contextmanager
def server(major: int, base: Path) -> Iterator[PostgresCluster]:
    """A cluster whose data lie there."""
    cluster = PostgresCluster(major, settings=SETTINGS, base=base).start()
    try:
        yield cluster
    finally:
        cluster.stop()


def measure(cluster: PostgresCluster, scratch: Path, sizes: list[int], dump_gb: int) -> None:
    """One line for each run."""
    url = cluster.create_database(name="bench")
    database = PostgresDatabase(cluster, urlsplit(url).path.removeprefix("/"), url)
    (scratch / "project").mkdir()
    project = Project(scratch / "project", database).with_apps(APP)
    project.run("migrate", "deploy_ops", check=0)
    filled = 0
    for size in sizes:
        database.execute(FILL.format(n=size, rows=(size - filled) * ROWS_PER_GB))
        filled = size
        cluster.execute("CHECKPOINT")
        for method in ("clone", *(["dump"] if size <= dump_gb else [])):
            project.run("migrate", APP, "zero", check=0)
            started = datetime.now(UTC)
            result = project.json("safe_migrate", "--safety", method, timeout=7200, check=0)
            print(row(project, method, result, started), flush=True)
            time.sleep(1)


def row(project: Project, method: str, result: Json, started: datetime) -> str:
    """What a run came to."""
    begun = moment_of(project.ops_dir / "runs" / f"{result['run']}.jsonl", "migration_started")
    [(size_bytes,)] = project.database.query("SELECT pg_database_size(current_database())")
    seconds = result["seconds"]["clone" if method == "clone" else "backup"]
    waited = (begun - started).total_seconds()
    return f"| {size_bytes / 2**30:.1f} | {method} | {seconds:.2f} | {waited:.2f} |"


def moment_of(journal: Path, step: str) -> datetime:
    """When a step was noted."""
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    return next(datetime.fromisoformat(each["at"]) for each in lines if each["step"] == step)


if __name__ == "__main__":
    main()
