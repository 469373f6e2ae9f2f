"""`restore ID --table NAME`: rows of single tables come back, what goes is kept, or nothing is done."""

import pytest

SHOP = """
CREATE TABLE customers (id integer PRIMARY KEY, name text UNIQUE);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers
    DEFERRABLE INITIALLY DEFERRED, place integer UNIQUE, note text);
CREATE TABLE items (id integer PRIMARY KEY, order_id integer REFERENCES orders ON DELETE CASCADE);
INSERT INTO customers VALUES (1, 'Anna'), (2, 'Bert');
INSERT INTO orders VALUES (1, 1, 1, 'one'), (2, 1, 2, 'two'), (3, 2, 3, 'three');
INSERT INTO items VALUES (1, 1), (2, 2), (3, 3);
"""
HARM = """
UPDATE orders SET place = 9 WHERE id = 1;
UPDATE orders SET place = 1 WHERE id = 2;
UPDATE orders SET place = 2, note = 'wrong' WHERE id = 1;
DELETE FROM items WHERE order_id = 3;
DELETE FROM orders WHERE id = 3;
INSERT INTO orders VALUES (4, 2, 4, 'new');
"""
SAVED = [(1, 1, 1, "one"), (2, 1, 2, "two"), (3, 2, 3, "three")]


def run_all(database, script: str) -> None:
    for statement in script.split(";\n"):
        if statement.strip():
            database.execute(statement)


@pytest.fixture
def shop(project):
    """Orders that were harmed after the backup: swapped unique places, a row less, a row more."""
    run_all(project.database, SHOP)
    project.json("backup", check=0)
    run_all(project.database, HARM)
    return project


def consent(project) -> list[str]:
    return ["--noinput", "--confirm", project.database.name]


def orders(project):
    return project.database.query("SELECT * FROM orders ORDER BY id")


def kept_rows(project, result, table="orders"):
    name = next(each["kept"] for each in result["tables"] if each["table"].endswith(table))
    return project.database.query(f"SELECT * FROM {name} ORDER BY id")


def test_rows_come_back_and_what_goes_is_kept(shop):
    before = shop.database.databases()

    told = shop.run(
        "restore", "latest", "--table", "orders", *consent(shop), "--format=json", check=0
    )

    assert orders(shop) == SAVED
    assert [row[0] for row in kept_rows(shop, told.json())] == [1, 2, 4]
    assert (
        "1 row taken out that the backup does not have, 2 changed back, 1 row put back"
        in told.stderr
    )
    # The key with CASCADE would have taken these along.
    assert shop.database.query("SELECT id FROM items ORDER BY id") == [(1,), (2,)]
    assert shop.database.databases() == before
    assert not list((shop.ops_dir / "restores").iterdir())
    again = shop.json("restore", "latest", "--table", "orders", *consent(shop), check=0)
    assert again["status"] == "nothing_to_do"


def test_rows_that_others_point_to_are_not_taken_away(shop):
    shop.database.execute("INSERT INTO items VALUES (4, 4)")
    harmed = orders(shop)

    refused = shop.run("restore", "latest", "--table", "orders", *consent(shop), check=1)

    assert "items (order_id): 1 row, to 4, which" in refused.stderr
    assert "orders does not have in the backup" in refused.stderr
    assert "--table" in refused.stderr and "Nothing was changed." in refused.stderr
    assert orders(shop) == harmed

    shop.run("restore", "latest", "--table=items", "--table=orders", *consent(shop), check=0)
    assert orders(shop) == SAVED
    assert shop.database.query("SELECT id FROM items ORDER BY id") == [(1,), (2,), (3,)]


def test_rows_are_not_put_back_that_would_point_to_nothing(shop):
    shop.database.execute("UPDATE orders SET customer_id = 1")
    shop.database.execute("DELETE FROM customers WHERE id = 2")
    harmed = orders(shop)

    refused = shop.run("restore", "latest", "--table", "orders", *consent(shop), check=1)

    assert "orders (customer_id): 1 row of the backup, to 2, which" in refused.stderr
    assert orders(shop) == harmed


@pytest.mark.parametrize("answer", ["right", "wrong"])
def test_it_is_asked_after_the_loss_was_shown(shop, answer):
    harmed, name = orders(shop), shop.database.name
    shown = shop.run("restore", "latest", "--table", "orders", input="no\n", check=1)
    assert "2 changed back" in shown.stdout and "was not confirmed" in shown.stderr
    assert orders(shop) == harmed
    asked = next(line for line in shown.stdout.splitlines() if line.startswith("To put these rows"))
    if answer == "right":
        typed = asked.partition("type: ")[2]
        assert name in typed
        shop.run("restore", "latest", "--table", "orders", input=f"{typed}\n", check=0)
        assert orders(shop) == SAVED


MISTAKES = [
    (["--table", "odrers"], 2, "There is no table odrers in"),
    (["--table", "odrers"], 2, "orders"),
    (["--table", "later"], 2, "There is no table"),
    (["--table", "some_view"], 1, "some_view is a view"),
    (["--table", "orders", "--into", "x"], 2, "--into and --table exclude each other"),
    (["--table", "orders", "--rows", "SELECT 1"], 2, "--table and --rows exclude each other"),
    (["--rows", "DELETE FROM orders"], 1, "cannot be run"),
    (["--rows", "SELECT 1; DROP TABLE items"], 1, "cannot be run"),
]


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_what_cannot_be_meant_changes_nothing(shop):
    shop.database.execute("CREATE TABLE later (id integer)")
    shop.database.execute("CREATE VIEW some_view AS SELECT id FROM orders")
    harmed = orders(shop)

    for words, code, says in MISTAKES:
        refused = shop.run("restore", "latest", *words, *consent(shop), check=code)
        assert says in refused.stderr and "Nothing was changed" in refused.stderr

    assert orders(shop) == harmed and len(shop.database.query("SELECT * FROM items")) == 2


def test_a_query_is_compared_and_nothing_is_changed(shop):
    before, harmed = shop.database.databases(), orders(shop)

    query = "SELECT id, place, note FROM orders"
    found = shop.json("restore", "latest", "--rows", query, check=0)

    assert (found["only_backup"], found["only_live"], found["changed"]) == (1, 1, 2)
    assert found["key"] == ["id"] and found["rows_only_live"] == [["4", "4", "new"]]
    assert {"backup": ["2", "2", "two"], "live": ["2", "1", "two"]} in found["rows_changed"]
    assert shop.database.databases() == before and orders(shop) == harmed
    told = shop.run("restore", "latest", "--rows", "SELECT note FROM orders", check=0).stdout
    assert "1 row the same, 0 changed, 2 only in the backup, 2 only in the live database." in told
    assert "note=wrong" in told
