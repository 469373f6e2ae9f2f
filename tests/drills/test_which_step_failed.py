"""Of several migrations in one transaction, the one that failed is named, and all it took along."""

from contextlib import closing

import pytest

from tests.sample_apps.written import WrittenApp

SHOP_ONLY = ("safe_migrate", "shop", "--no-backup")
CHILD = (
    "CREATE TABLE child (id integer PRIMARY KEY, "
    "note integer REFERENCES note (id) DEFERRABLE INITIALLY DEFERRED)"
)
FAILING = {
    "a statement": ("INSERT INTO nowhere VALUES (1)", "nowhere"),
    "a deferred constraint": (f"{CHILD}; INSERT INTO child VALUES (1, 7)", "IntegrityError"),
}


@pytest.fixture
def shop(project):
    """An app with a table `note`, deployed."""
    app = WrittenApp(project.directory)
    app.migration("0001_note", sql("CREATE TABLE note (id integer PRIMARY KEY)"))
    project.with_apps(app.name)
    project.run("migrate", "shop", "0001", check=0)
    return app


def sql(statement: str, reverse: str = "SELECT 1") -> str:
    return f'migrations.RunSQL("{statement}", "{reverse}")'


def add(column: str) -> str:
    return sql(f"ALTER TABLE note ADD COLUMN {column} integer")


@pytest.mark.parametrize("way", FAILING)
def test_the_one_that_failed_is_named_and_those_that_it_took_along(project, shop, way):
    statement, error = FAILING[way]
    shop.migration("0002_km", add("km"))
    shop.migration("0003_broken", sql(statement))
    shop.migration("0004_place", add("place"))

    result = project.json(*SHOP_ONLY, "--single-transaction", "--allow", "L105", check=3)

    assert result["error"].startswith("shop.0003_broken failed: ")
    assert error in result["error"]
    message = result["recovery"]["message"]
    assert message.startswith("shop.0002_km, shop.0003_broken, shop.0004_place left nothing behind")


def test_a_long_row_of_them_is_said_in_short(project, shop):
    for number in range(2, 7):
        shop.migration(f"{number:04}_add", add(f"n{number}"))
    shop.migration("0007_broken", sql("INSERT INTO nowhere VALUES (1)"))

    result = project.json(*SHOP_ONLY, "--single-transaction", check=3)

    assert result["error"].startswith("shop.0007_broken failed: ")
    message = result["recovery"]["message"]
    assert message.startswith("shop.0002_add to shop.0007_broken (6 migrations) left nothing")


def test_a_lost_race_for_a_lock_is_the_one_s_that_lost_it(project, shop):
    if project.database.vendor == "sqlite":
        pytest.skip("SQLite locks the whole database")
    shop.migration("0002_table", sql("CREATE TABLE km (id integer)"))
    shop.migration("0003_add", add("km"))
    with closing(project.database.connect()) as reader, reader.transaction():
        reader.execute("SELECT * FROM note")
        ended = project.run(*SHOP_ONLY, "--single-transaction", "--lock-retries", "1", check=3)
    assert "shop.0003_add: lock timeout" in ended.stderr + ended.stdout
    assert "\nshop.0003_add failed: OperationalError" in ended.stdout


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_undoing_several_names_the_one_that_could_not_be(project, shop):
    shop.migration("0002_km", sql("SELECT 1", "SELECT nothing"))
    shop.migration("0003_place", sql("SELECT 1"))
    shop.migration("0004_broken", "migrations.RunPython(lambda apps, editor: 1 / 0)")

    result = project.json(*SHOP_ONLY, check=4)

    assert result["error"].startswith("shop.0004_broken failed: ZeroDivisionError")
    message = result["recovery"]["message"]
    assert "Reversing stopped: shop.0002_km failed: " in message
    assert "Committed by this run and still there: shop.0002_km, shop.0003_place." in message
    assert "    python manage.py safe_migrate shop   # after the" in message


def test_what_is_advised_goes_where_the_run_went(project, shop):
    """Without its words, it would apply again what was to be undone."""
    shop.migration("0002_km", sql("SELECT 1", "SELECT nothing"))
    shop.migration("0003_place", sql("SELECT 1"))
    project.run(*SHOP_ONLY, check=0)

    result = project.json("safe_migrate", "shop", "0001", "--no-backup", check=4)

    assert result["error"].startswith("shop.0002_km failed: ")
    message = result["recovery"]["message"]
    assert "    python manage.py safe_migrate shop 0001   # after the" in message
