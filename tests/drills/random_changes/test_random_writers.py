"""Old and new code write while a change expands, backfills and contracts, and is killed on its way.

Whatever PostgreSQL has acknowledged is found afterwards in the columns of both codes. RANDOM_WRITERS
is the number of changes (1), RANDOM_SEED where they begin (0).
"""

import os
import random
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.deploy_ops.phases.generate.stories import CONTRACT
from tests.drills.drawing import SEED
from tests.drills.random_changes.test_random_changes import EXPAND, new_shop
from tests.drills.random_changes.writers import KINDS, Table, Writer
from tests.sample_apps.written import MIGRATION

RUNS = int(os.environ.get("RANDOM_WRITERS", "1"))
ROWS = 4000
WRITERS = 2
NAMES = ("note", "Größe")


@dataclass(frozen=True)
class Kill:
    """Before a statement, or at a moment."""

    statement: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Story:
    """The changes of one migration, and where the tries of each phase are killed."""

    kinds: tuple[str, ...]
    kills: tuple[tuple[Kill, ...], tuple[Kill, ...]]
    seed: int


def story_of(seed):
    """Drawn by the seed alone: of one example in a run Hypothesis would make the simplest."""
    draw = random.Random(seed)
    kinds = draw.sample(sorted(KINDS), draw.choice([1, 2]))
    kills = [tuple(_kill(draw) for _ in range(draw.randint(0, 3))) for _ in range(2)]
    return Story(tuple(kinds), (kills[0], kills[1]), draw.randrange(10_000))


def _kill(draw):
    if draw.random() < 0.5:
        return Kill(statement=draw.randint(1, 250))
    return Kill(seconds=draw.uniform(1.0, 5.0))


def start(shop, kinds):
    """The first release, and the migration of the second."""
    fields = "".join(f"    {name} = models.{kind.before}\n" for name, kind in kinds.items())
    shop.start(f"class Order(models.Model):\n    km = models.IntegerField(default=1)\n{fields}")
    lines = [f"        {kind.operation.format(name=name)}" for name, kind in kinds.items()]
    text = MIGRATION.format(
        atomic=False,
        replaces=[],
        dependencies='("deploy_ops", "0002_contract_rows"), ("shop", "0001_initial")',
        operations="\n".join(lines),
    )
    print(text)
    (shop.app.migrations_dir / "0002_change.py").write_text(text)


def fill(table, connection):
    """Rows that are there before."""
    columns = ", ".join(table.columns(is_new=False))
    places = ", ".join(["%s"] * len(table.kinds))
    sql = f"INSERT INTO shop_order (km, {columns}) VALUES (1, {places}) RETURNING id"
    numbers = range(1, ROWS + 1)
    with connection.transaction(), connection.cursor() as cursor:
        rows = [table.values(number, is_new=False) for number in numbers]
        cursor.executemany(sql, rows, returning=True)
        for number in numbers:
            table.rows[cursor.fetchone()[0]] = number
            cursor.nextset()


@contextmanager
def at_work(table, database, seed, *codes):
    """So many writers of each code; every row is one writer's."""
    writers = [
        Writer(table, database.connect, seed + number, is_new=is_new)
        for number, is_new in enumerate(code for code in codes for _ in range(WRITERS))
    ]
    for number, key in enumerate(sorted(table.rows)):
        writers[number % len(writers)].own.append(key)
    for each in writers:
        each.start()
    try:
        yield
    finally:
        failed = [_stopped(each) for each in writers]
    assert not any(failed), failed
    assert all(each.written for each in writers)


def _stopped(writer):
    try:
        writer.stop()
    except AssertionError as error:
        return error, error.__cause__
    return None


def run_killed(project, argv, kills):
    """Run a phase, killed in each of these ways first."""
    for each in kills:
        env = {"KILL_BEFORE": str(each.statement)} if each.statement else {}
        process = project.start(*argv, env=env)
        if each.seconds:
            time.sleep(each.seconds)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        done = project.finish(process)
        assert done.code in (0, -signal.SIGKILL), done
    project.run(*argv, check=0)


def try_out(shop, story):
    kinds = {name: KINDS[kind] for name, kind in zip(NAMES, story.kinds)}
    table, project, database = Table(kinds), shop.project, shop.project.database
    start(shop, kinds)
    with database.connect() as connection:
        fill(table, connection)
        with at_work(table, database, story.seed, False):
            run_killed(project, EXPAND, story.kills[0])
        with at_work(table, database, story.seed + 10, False, True):
            time.sleep(0.5)
        table.assert_rows(connection, is_new=False)
        table.assert_rows(connection, is_new=True)
        with at_work(table, database, story.seed + 20, True):
            run_killed(project, CONTRACT, story.kills[1])
        table.assert_rows(connection, is_new=True)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
def test_what_both_codes_write_meanwhile_is_kept(
    seed, pg15_cluster, tmp_path_factory, django_db_blocker
):
    story = story_of(seed)
    print(story)
    with new_shop(pg15_cluster, tmp_path_factory, django_db_blocker) as shop:
        try_out(shop, story)
