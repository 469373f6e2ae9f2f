"""Random releases, and the way back from them, with kills: what it says is so, no value is lost.

RANDOM_WAYS_BACK is the number of ways back (3), RANDOM_SEED where they begin (0).
"""

import json
import os
import signal
from dataclasses import dataclass

import pytest
from hypothesis import assume, note
from hypothesis import strategies as st

from tests.deploy_ops.phases.generate.stories import CONTRACT
from tests.drills.drawing import chunks, drawn
from tests.drills.random_changes.changes import Change, changes
from tests.drills.random_changes.test_random_changes import (
    EXPAND,
    NARROWER,
    is_refused,
    new_shop,
    work,
)

RUNS = int(os.environ.get("RANDOM_WAYS_BACK", "3"))
A_CHUNK = 3
MOST_KILLS = 3
OLD, NEW = {"APP_VERSION": "1.0.0"}, {"APP_VERSION": "1.1.0"}
BACK = ("rollback", "--to", "v1.0.0", "--format", "json", "--noinput")
FIRST = "0001_initial"
# What a new column has without anybody having written it, as DEFAULTS of the changes say.
UNWRITTEN = (None, "-", 7, False)


@dataclass(frozen=True)
class WayBack:
    """A release, how it came, what was done with it, and where the way back is killed."""

    change: Change
    is_plain: bool
    is_contracted: bool
    is_used: bool
    kill: int


ways = st.builds(
    WayBack,
    change=changes(),
    is_plain=st.booleans(),
    is_contracted=st.booleans(),
    is_used=st.booleans(),
    kill=st.integers(0, 150),
)


def contents(database):
    """The rows of every table of the shop, by table and key."""
    names = [name for name in database.schema() if name.startswith("shop_")]
    return {name: _rows(database, f'"{name}"') for name in names}


def _rows(database, table):
    rows = [row for (row,) in database.query(f"SELECT to_jsonb(o) FROM {table} AS o")]
    return {row["id"]: row for row in rows}


def kept(database):
    """The rows of the copies of tables that are gone, in one."""
    names = database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'deploy_ops_kept'")
    tables = [_rows(database, f'deploy_ops_kept."{name}"') for (name,) in names]
    return [row for table in tables for row in table.values()]


def assert_nothing_lost(database, before):
    now, copies = contents(database), kept(database)
    for table, rows in before.items():
        if table not in now:
            assert all(row in copies for row in rows.values()), (table, rows, copies)
            continue
        assert now[table].keys() == rows.keys(), table
        for key, row in rows.items():
            assert_row_kept(row, now[table][key])


def assert_row_kept(row, now):
    for name, value in row.items():
        if name in now:
            assert _plain(now[name]) == _plain(value), (name, row, now)
        else:
            elsewhere = map(_plain, now.values())
            assert value in UNWRITTEN or _plain(value) in elsewhere, (name, row, now)


def _plain(value):
    """A number is the same with other places behind the point."""
    return float(value) if type(value) in (int, float) else value


def release(shop, way):
    """Deploy the second release; its last migration."""
    if way.is_plain:
        shop.app.models(way.change.new.source)
        shop.run("makemigrations", "shop", "--noinput")
    else:
        assume(not is_refused(shop, way.change.new.source))
    *_, last = shop.app.migrations()
    assume(last != FIRST)
    note("\n".join(shop.app.migrations().values()))
    allowed = [f"L{number}" for number in range(101, 130)] if way.is_plain else []
    options = [word for rule in allowed for word in ("--allow", rule)]
    done = shop.project.run(*EXPAND, *options, env=NEW)
    assume(done.code == 0)
    if way.is_contracted:
        assume(shop.project.run(*CONTRACT, env=NEW).code == 0)
    return last


def go_back(shop, kill):
    """Killed before that statement the first time, and then typed again."""
    env = {**NEW, "KILL_BEFORE": str(kill)} if kill else NEW
    done = shop.project.run(*BACK, env=env)
    for _ in range(MOST_KILLS):
        if done.code != -signal.SIGKILL:
            break
        done = shop.project.run(*BACK, env=NEW)
    return done


def assert_works(shop, said):
    """The old code, but for what was said of it."""
    if any(each.endswith(NARROWER) for each in said):
        return
    [failed] = work(shop, FIRST, tries=True, begin=400)
    upserts = {"deploy_ops.T013"} & set(said)
    assert [each for each in failed if not (upserts and each[1] == "insert or update")] == []


def _why(said):
    return said["why"] if said["decision"] == "code_only" else []


def try_out(shop, way):
    shop.app.models(way.change.old.source)
    shop.run("makemigrations", "shop", "--noinput")
    shop.run(*EXPAND, env=OLD)
    work(shop, FIRST, tries=False)
    last = release(shop, way)
    if way.is_used:
        work(shop, last, tries=False, begin=200)
    database = shop.project.database
    before = contents(database)

    done = go_back(shop, way.kill)
    note(done.stdout + done.stderr)
    said = json.loads(done.stdout)
    assert done.code in (0, 1, 3), done
    if done.code == 0:
        assert said["decision"] in ("code_only", "reverse")
        assert_nothing_lost(database, before)
        assert_works(shop, [each["id"] for each in _why(said)])
    else:
        assert contents(database) == before, done
        assert not kept(database), done


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("chunk", chunks(RUNS, A_CHUNK))
def test_what_the_way_back_says_is_so(chunk, pg15_cluster, tmp_path_factory, django_db_blocker):
    @drawn(chunk, A_CHUNK, way=ways)
    def run(way):
        note(way.change.old.source)
        note(way.change.new.source)
        resources = pg15_cluster, tmp_path_factory, django_db_blocker
        with new_shop(*resources, is_two_phase=not way.is_plain) as shop:
            try_out(shop, way)

    run()
