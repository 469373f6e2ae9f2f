"""What can happen while much waits: a restore, two contracts at once, kills at random moments."""

import os
import random
import time

import pytest

from tests.deploy_ops.phases.test_several_changes import CONTRACT, INITIAL, MANY
from tests.sample_apps.written import deploy_first

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
VALUES = "SELECT id, count, remark, kind, second, price FROM shop_order ORDER BY id"
ROWS = 20_000


@pytest.fixture
def waiting(project, database):
    """Eight contracts wait; old code wrote one row, new code another."""
    app = deploy_first(project, INITIAL)
    database.execute(
        "INSERT INTO shop_order (note, pieces, price) SELECT n, n, n FROM generate_series(1, %s)"
        " AS n",
        (ROWS,),
    )
    app.migration("0002_many", MANY, atomic=False)
    project.run("safe_migrate", "--no-backup", check=0)
    database.execute("INSERT INTO shop_order (pieces, price, note) VALUES (700, -1, 'old')")
    database.execute("INSERT INTO shop_order (price, remark) VALUES (-2, 'new')")
    return app


def finished(project, database):
    """Everything has run, once; returns the rows as new code sees them."""
    assert project.json("contract", "list", check=0)["waiting"] == []
    columns = database.query(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'shop_order'::regclass AND attnum > 0"
        " AND NOT attisdropped ORDER BY attname"
    )
    assert columns == [(name,) for name in ("id", "kind", "owner_id", "price", "remark", "second")]
    assert database.query("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == [(0,)]
    return database.query(VALUES.replace(" count,", ""))


def values(database):
    return database.query(VALUES.replace(" count,", ""))


@PG15
def test_a_restore_brings_triggers_and_what_waits_back(project, database, waiting):
    project.run("backup", check=0)
    before, schema = values(database), database.schema()
    project.run(*CONTRACT, check=0)
    project.run("restore", "latest", "--noinput", "--confirm", database.name, check=0)
    assert values(database) == before
    assert database.schema() == schema
    database.execute("INSERT INTO shop_order (pieces, price, note) VALUES (1, -3, 'old again')")
    database.execute("UPDATE shop_order SET remark = 'changed' WHERE price = -1")
    assert database.query("SELECT note FROM shop_order WHERE price = -1") == [("changed",)]
    expected = values(database)
    project.run(*CONTRACT, check=0)
    assert finished(project, database) == expected


@PG15
def test_two_contracts_at_once(project, database, waiting):
    expected = values(database)
    both = [project.start(*CONTRACT) for _ in range(2)]
    codes = sorted(project.finish(each).code for each in both)
    assert codes in ([0, 0], [0, 1])  # the second finds nothing left, or the lock held
    assert finished(project, database) == expected


@PG15
def test_a_contract_killed_again_and_again(project, database, waiting):
    """Whatever moment it is: both codes still see every value, and the next one goes on."""
    chance = random.Random(int(os.environ.get("RANDOM_SEED", "4")))
    expected, kills = values(database), 0
    for _ in range(6):
        process = project.start(*CONTRACT)
        time.sleep(chance.uniform(0.6, 2.0))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
        assert values(database) == expected
    assert kills
    project.run(*CONTRACT, check=0)
    assert finished(project, database) == expected
