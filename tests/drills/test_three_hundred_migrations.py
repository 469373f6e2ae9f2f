"""The long history of another's project: planned, linted, applied, and recovered late in it."""

import pytest

from tests.drills.portraits import portrait
from tests.foreign.ticket_shop import MODULES, TicketShop

MOST = ("shop", "0249_filled")
EVENT = ["id", "title", "price", "before_id"]
LEFT = {
    "shop_event27": ["id", "title", "price"],
    **{f"shop_event{n}": EVENT for n in (28, 29)},
    **{f"stock_seat{n}": ["id", "event_id"] for n in (27, 28, 29)},
}
# What pending migrations do to tables that are in use; nobody uses those that they make themselves.
FOUND = {
    *(("L102", f"{table}{n}") for table in ("shop_event", "stock_seat") for n in (22, 23, 24)),
    *(("L101", f"shop_event{n}") for n in (23, 24)),
    *(("L014", f"shop_event{n}") for n in (22, 23, 24)),
    ("L013", "shop_event24"),
}


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_a_ticket_shop_of_three_hundred_migrations(project):
    shop = TicketShop(project.directory)
    assert len(shop.written) == 300
    project.with_apps(*MODULES)
    for ours in ("auth", "deploy_ops"):
        project.run("migrate", ours, check=0)
    assert "No changes detected" in project.run("make_two_phase", "--check", check=0).stdout
    planned = project.json("safe_migrate", "--plan", check=0)["plan"]
    assert len(planned) == shop.pending()
    applied = project.json("safe_migrate", *MOST, "--no-backup", check=0)["applied"]
    assert len(applied) == shop.pending(rounds=25)

    found = project.json("lint_migrations", "--two-phase", check=1)["findings"]
    assert {(each["id"][-4:], each["table"]) for each in found} == FOUND
    project.database.execute("INSERT INTO shop_event24 (title, price) VALUES ('Messe', 410)")
    before = portrait(project.database)
    failed = project.run("safe_migrate", check=3, env={"FAILS": "1"})
    assert "shop.0259_filled failed: ValueError: tickets of two years are open" in failed.stdout
    assert "is live again: every table has as many rows as were backed up" in repr(failed)
    assert portrait(project.database) == before

    project.run("safe_migrate", check=0)
    project.run("migrate", "--check", check=0)
    tables = project.database.schema()
    assert {name: tables[name] for name in tables if name.startswith(("shop", "stock"))} == LEFT
