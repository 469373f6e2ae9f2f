"""The release that runs is the one that was released into this database, however a run went."""

import pytest

START = """
class Order(models.Model):
    note = models.CharField(max_length=50)
    pieces = models.IntegerField(default=1)
"""
LESS = START.replace("    note = models.CharField(max_length=50)\n", "")
MORE = "    paid = models.BooleanField({})\n"
TWICE = """
from django.core.management import call_command
call_command("migrate", "shop", "0001", verbosity=0)
call_command("safe_migrate", "--no-backup")
"""

on_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)


@on_15
def test_an_expand_phase_that_was_cut_off_goes_on(shop):
    """The old release still runs, and the columns that wait are there for it."""
    shop.start(START)
    shop.change(LESS + MORE.format("null=True, default=False"))
    kill = {"KILL_AT": "journal:migration_applied:after:1"}
    shop.run("safe_migrate", "--no-backup", env=kill, check=-9)
    shop.run("safe_migrate", "--no-backup")


@on_15
def test_a_table_that_a_cut_off_run_has_made_is_still_new(shop):
    shop.start(START)
    line = "class Line(models.Model):\n    note = models.TextField()\n"
    shop.change(f"{START}\n\n{line}")
    shop.change(f"{START}\n\n{line}    count = models.IntegerField(default=1)\n")
    [path] = shop.app.migrations_dir.glob("0003_*.py")
    text = path.read_text().replace("deploy_ops.phases.AddFieldOnline", "migrations.AddField")
    path.write_text(text)
    kill = {"KILL_AT": "journal:migration_applied:after:1"}
    shop.run("safe_migrate", "--no-backup", "--lock-retries", "1", env=kill, check=-9)
    shop.run("lint_migrations", "--two-phase")
    shop.run("safe_migrate", "--no-backup")


@on_15
def test_a_release_into_another_database_says_nothing_of_this_one(shop):
    """A project that moves from SQLite to PostgreSQL keeps its directory."""
    sqlite = f"sqlite:///{shop.project.directory}/first.sqlite3"
    shop.app.models(START)
    shop.run("makemigrations", "shop", "--noinput")
    shop.run("safe_migrate", "--no-backup", env={"DATABASE_URL": sqlite})
    shop.run("migrate", "shop")
    shop.change(START + MORE.format("null=True"))
    shop.run("safe_migrate", "--no-backup")


@on_15
def test_an_app_is_new_once_only(shop):
    """What one run of a process knows of the start is not what the next one has to know."""
    shop.app.models(START)
    shop.run("makemigrations", "shop", "--noinput")
    shop.run("migrate", "contenttypes")
    shop.change(START + MORE.format("default=False"))
    shop.run("shell", "--no-imports", "-c", TWICE)


@on_15
def test_a_release_whose_migrations_a_restore_took_back_does_not_run(shop, database):
    """2.0.0 was bad, its backup is back, and the next release comes from 1.0.0."""
    second, third = ({"APP_VERSION": each} for each in ("2.0.0", "1.0.1"))
    shop.project.env["APP_VERSION"] = "1.0.0"
    shop.start(START)
    shop.run("backup")
    shop.change(START + MORE.format("null=True"))
    shop.run("safe_migrate", "--no-backup", env=second)
    shop.run("restore", "latest", "--noinput", "--confirm", database.name)
    shop.app.remove_behind("0001")
    shop.change(START + "    sent = models.BooleanField(null=True)\n")
    shop.run("safe_migrate", "--no-backup", env=third)
