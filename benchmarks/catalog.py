"""`backups list` of a large catalog: the first time, again, with keys, and beside an empty one.

One SQLite database is saved, and its manifest copied under other ids, each with the entries of 30
files, 30 tables and 60 migrations. Wall time is that of the whole process, Django's start included.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import django

from benchmarks.machine import describe_machine
from benchmarks.pairs import Cost, Ratio, interleave, print_costs, print_ratios, run, walls

FILES, TABLES, MIGRATIONS = 30, 30, 60
EMPTY, FIRST, AGAIN, AS_JSON = "none", "the first time", "again", "again, as JSON"
LIST = (sys.executable, "-m", "django", "backups", "list")
Env = Mapping[str, str]


def main() -> None:
    """Measure and print."""
    options = _options()
    if options.make:
        make_backups(options.backups)
        return
    with tempfile.TemporaryDirectory() as directory:
        print("\n".join(describe_machine(Path(directory), [])), flush=True)
        for title, with_key in (("without keys", False), ("encryption key", True)):
            _measure(title, _project(Path(directory, title), with_key), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backups", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _project(directory: Path, with_key: bool) -> Env:
    directory.mkdir(mode=0o700)
    settings = {}
    if with_key:
        key = directory / "key"
        key.write_text(f"2026:{b64encode(secrets.token_bytes(32)).decode()}\n")
        key.chmod(0o600)
        settings["DEPLOY_OPS_BACKUP_KEY_FILE"] = str(key)
    return os.environ | {
        "CATALOG_DIRECTORY": str(directory),
        "CATALOG_SETTINGS": json.dumps(settings),
        "DJANGO_SETTINGS_MODULE": "benchmarks.catalog_settings",
    }


def _measure(title: str, env: Env, options: argparse.Namespace) -> None:
    argv = [sys.executable, "-m", "benchmarks.catalog", "--make", f"--backups={options.backups}"]
    subprocess.run(argv, env=dict(env), check=True, stdout=subprocess.DEVNULL)
    heads = Path(env["CATALOG_DIRECTORY"], "backups", ".heads")

    def first() -> Cost:
        heads.unlink(missing_ok=True)
        return run(LIST, env)

    costs = interleave(
        {
            EMPTY: lambda: run(LIST, {**env, "CATALOG_BACKUPS": "none"}),
            FIRST: first,
            AGAIN: lambda: run(LIST, env),
            AS_JSON: lambda: run([*LIST, "--format", "json"], env),
        },
        options.rounds,
    )
    print_costs(f"{options.backups} backups, {title}", costs)
    goal = f"`backups list` {AGAIN}: seconds"
    processor = [each.cpu_seconds for each in costs[AGAIN]]
    print_ratios(
        "Goals",
        [Ratio(goal, walls(costs[AGAIN]), 1.0), Ratio(f"{goal} of processor", processor, 1.0)],
    )


def make_backups(number: int) -> None:
    """Take one backup and write so many manifests like its own, an hour apart."""
    django.setup()
    # pylint: disable=import-outside-toplevel  # needs the settings
    from django.core.management import call_command

    from deploy_ops.backup.authenticity import host_keys
    from deploy_ops.backup.catalog import find_backup
    from deploy_ops.backup.manifest import Manifest, SavedFile, dump_manifest
    from deploy_ops.ids import new_id

    call_command("migrate", verbosity=0)
    call_command("backup", verbosity=0)
    backup, now = find_backup("default", "latest"), datetime.now(UTC)

    def like_it(sequence: int) -> Manifest:
        at = now - timedelta(hours=number - sequence)
        files = {
            f"database/dump/{4000 + each}.dat.gz": SavedFile(each * 1000, secrets.token_hex(32))
            for each in range(FILES)
        }
        return replace(
            backup.manifest,
            id=new_id(at),
            sequence=sequence,
            started_at=at,
            finished_at=at + timedelta(seconds=9),
            files=files,
            counts={f"public.app_table_{each}": each for each in range(TABLES)},
            sequences={f"public.app_table_{each}_id_seq": each for each in range(TABLES)},
            migrations=tuple(
                (f"app{each % 6}", f"{each:04}_some_name") for each in range(MIGRATIONS)
            ),
        )

    for sequence in range(1, number):
        manifest = host_keys().prove(like_it(sequence))
        directory = backup.directory.parent / manifest.id
        directory.mkdir(mode=0o700)
        (directory / "manifest.json").write_bytes(dump_manifest(manifest))


if __name__ == "__main__":
    main()
