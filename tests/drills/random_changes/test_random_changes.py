"""Random changes of models in two phases, with kills: both codes work, no value is lost.

RANDOM_CHANGES is the number of changes (3), RANDOM_SEED where they begin (0); hypothesis prints
the change that fails.
"""

import json
import os
import signal
from contextlib import contextmanager
from decimal import Decimal

import pytest
from hypothesis import assume, note

from tests.conftest import scratch_alias, scratch_database, scratch_project
from tests.deploy_ops.phases.generate.stories import CONTRACT, Shop
from tests.drills.drawing import chunks, drawn
from tests.drills.random_changes.changes import changes
from tests.sample_apps.modelled import ModelledApp

RUNS = int(os.environ.get("RANDOM_CHANGES", "3"))
A_CHUNK = 3
MOST_KILLS = 3
EXPAND = ("safe_migrate", "--no-backup")
NARROWER = ("T010", "T011")  # a constraint that comes at once, which is only said

# What both releases do, and two rows of each that stay.
WORK = """
import itertools, json
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from tests.project.both_codes import Rows, failures
Rows.count = itertools.count({begin})
names = json.loads({names!r})
if {tries}:
    print(json.dumps([failures("shop", name) for name in names]))
for name in names:
    state = MigrationLoader(connection).project_state(("shop", name))
    for model in state.apps.get_app_config("shop").get_models():
        for nulls in (False, True):
            rows = Rows(model)
            rows.saved(**(rows.nulls() if nulls else {{}}))
"""


def work(shop, *names, tries, begin=1):
    """Values begin with that number, so that those of two calls can be different."""
    code = WORK.format(names=json.dumps(names), tries=tries, begin=begin)
    done = shop.run("shell", "--no-imports", "-c", code)
    return json.loads(done.stdout) if tries else []


def values(database, columns):
    """The rows of Order by key: what is in these columns."""
    rows = database.query("SELECT to_jsonb(o) FROM shop_order AS o")
    assert rows
    return {row["id"]: {name: _plain(row[name]) for name in columns} for (row,) in rows}


def _plain(value):
    return Decimal(str(value)).normalize() if type(value) in (int, float) else value


def columns_of(change):
    """Columns that both releases have, and of these such as may be filled."""
    old = {each.name: each for each in change.old.fields}
    both = [(old[each.name], each) for each in change.new.fields if each.name in old]
    column = {name: f"{name}_id" if each.kind == "customer" else name for name, each in old.items()}
    kept = {column[before.name] for before, _ in both}
    return kept, {column[before.name] for before, after in both if before.null and not after.null}


def assert_kept(database, before, change):
    kept, filled = columns_of(change)
    now = values(database, kept)
    for key, row in before.items():
        for name in kept:
            is_filled = name in filled and row[name] is None and now[key][name] is not None
            assert is_filled or now[key][name] == row[name], (key, name, row, now[key])


def run_killed(shop, argv, kill):
    """Run a phase; killed before that statement the first time, and then again."""
    env = {"KILL_BEFORE": str(kill)} if kill else {}
    done = shop.project.run(*argv, env=env)
    for _ in range(MOST_KILLS):
        if done.code != -signal.SIGKILL:
            break
        done = shop.project.run(*argv)
    assert done.code == 0, done
    return done.stdout + done.stderr


def plain_schema(shop, models):
    """The schema of Django's own migrations; the database and the files are as before then."""
    shop.app.models(models)
    shop.run("makemigrations", "shop", "--noinput")
    shop.run("migrate", "shop")
    schema = shop.schema()
    shop.run("migrate", "shop", "0001")
    shop.app.remove_behind("0001")
    return schema


def is_refused(shop, models):
    """Whether the generator has no safe form for it; then nothing was written."""
    before = shop.app.migrations()
    shop.app.models(models)
    done = shop.project.run("make_two_phase", "shop", "--noinput")
    if done.code == 1:
        assert "Nothing was written." in done.stderr and shop.app.migrations() == before, done
    else:
        assert done.code == 0, done
    return done.code == 1


def make_rows_fit(shop, last):
    """A type that gets narrower in the contract phase is for rows of new code alone."""
    waits = "SELECT FROM deploy_ops_contractrow WHERE description LIKE 'Change the type%'"
    if shop.project.database.query(waits):
        shop.project.database.execute("TRUNCATE shop_order CASCADE")
        work(shop, last, tries=False)


def try_out(shop, change):
    shop.start(change.old.source)
    plain = plain_schema(shop, change.new.source)
    start = shop.schema()
    work(shop, "0001_initial", tries=False)
    before = values(shop.project.database, columns_of(change)[0])
    assume(not is_refused(shop, change.new.source))
    *_, last = shop.app.migrations()
    assume(last != "0001_initial")
    note("\n".join(shop.app.migrations().values()))

    said = run_killed(shop, EXPAND, change.kills[0])
    failed = work(shop, "0001_initial", last, tries=True)
    if not any(id_ in said for id_ in NARROWER):
        assert failed == [[], []], (failed, said)
    assert_kept(shop.project.database, before, change)
    make_rows_fit(shop, last)
    before = values(shop.project.database, columns_of(change)[0])
    run_killed(shop, CONTRACT, change.kills[1])
    assert_kept(shop.project.database, before, change)
    assert len(values(shop.project.database, ())) == len(before)
    shop.assert_schema(plain)
    shop.project.database.execute("TRUNCATE shop_order CASCADE")  # new values are too long
    shop.run("migrate", "shop", "0001")
    shop.assert_schema(start)


@contextmanager
def new_shop(cluster, tmp_path_factory, blocker, *, is_two_phase=True):
    """A project without a release, on a database of its own."""
    with (
        contextmanager(scratch_database)(cluster) as database,
        contextmanager(scratch_project)(database, tmp_path_factory) as project,
        contextmanager(scratch_alias)(database, blocker) as alias,
    ):
        app = ModelledApp(project.directory)
        project.with_apps(app.name, "tests.drills.random_changes")
        project.settings(DEPLOY_OPS_TWO_PHASE=is_two_phase)
        yield Shop(project, app, alias)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("chunk", chunks(RUNS, A_CHUNK))
def test_both_codes_work_and_no_value_is_lost(
    chunk, pg15_cluster, tmp_path_factory, django_db_blocker
):
    @drawn(chunk, A_CHUNK, change=changes())
    def run(change):
        note(change.old.source)
        note(change.new.source)
        with new_shop(pg15_cluster, tmp_path_factory, django_db_blocker) as shop:
            try_out(shop, change)

    run()
