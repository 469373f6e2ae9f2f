"""Plain makemigrations: Django's own, or ours by a setting; also beside django-linear-migrations."""

import pytest
from django.core.management import load_command_class
from django.core.management.commands import makemigrations

LINEAR = "django_linear_migrations"
START = """
class Order(models.Model):
    note = models.CharField(max_length=50, null=True)
    pieces = models.IntegerField(default=1)
"""
CHANGED = START.replace("default=1)", "default=1, db_index=True)").replace(
    "    note = models.CharField(max_length=50, null=True)\n", ""
)


@pytest.fixture
def started(sqlite_shop):
    sqlite_shop.start(START)
    sqlite_shop.project.settings(DEPLOY_OPS_MAKEMIGRATIONS=True)
    return sqlite_shop


def names(shop):
    return list(shop.app.migrations())


def test_without_the_setting_it_is_djangos_own(settings):
    assert type(load_command_class("deploy_ops", "makemigrations")) is makemigrations.Command
    settings.DEPLOY_OPS_MAKEMIGRATIONS = "yes"  # C003 tells it, and Django's runs the checks
    assert type(load_command_class("deploy_ops", "makemigrations")) is makemigrations.Command


def test_with_it_the_safe_form_is_written(started):
    started.app.models(CHANGED)
    assert "0002_remove_order_note" in started.run("makemigrations", "--check", check=1).stdout
    shown = started.run("makemigrations", "--dry-run", "-v", "3").stdout
    assert "deploy_ops.phases.Contract(" in shown and names(started) == ["0001_initial"]
    started.run("makemigrations", "--noinput")
    assert names(started) == ["0001_initial", "0002_remove_order_note", "0003_order_pieces_index"]
    assert not list(started.app.migrations_dir.glob(".*.partial"))
    started.run("makemigrations", "--check")
    started.expand()


@pytest.mark.parametrize(
    ("old", "new"), [("note =", "remark ="), ("class Order", "class Purchase")]
)
def test_a_rename_that_nobody_is_asked_for_is_refused(started, old, new):
    started.app.models(START.replace(old, new))
    result = started.run("makemigrations", "--noinput", check=1)
    assert "Run this without --noinput and say which it is." in result.stderr
    assert "Traceback" not in result.stderr and names(started) == ["0001_initial"]


def test_empty_merge_and_update_are_djangos(started):
    started.run("makemigrations", "shop", "--empty", "--name", "one")
    text = started.app.migrations()["0002_one"]
    other = started.app.migrations_dir / "0002_other.py"
    other.write_text(text)
    started.run("makemigrations", "shop", "--noinput", check=1)
    started.run("makemigrations", "shop", "--merge", "--noinput", "--name", "both")
    assert names(started)[1:] == ["0002_one", "0002_other", "0003_both"]
    started.app.models(CHANGED)
    said = started.run("makemigrations", "shop", "--update", "--noinput").stdout
    assert "python manage.py make_two_phase --fix shop" in said
    [_, _, _, (name, text)] = started.app.migrations().items()
    assert name.startswith("0003_remove_order_note") and "deploy_ops" not in text
    started.run("make_two_phase", "--fix", "shop")
    assert names(started)[-2:] == [name, f"{name}_part1"]
    started.run("makemigrations", "--check")
    started.expand()


def linear(shop, *apps):
    """django-linear-migrations among the apps, at the place that `apps` give it."""
    auth = ["django.contrib.contenttypes", "django.contrib.auth"]
    installed = [*apps, *auth, shop.app.name]
    shop.project.settings(INSTALLED_APPS=installed, FIRST_PARTY_APPS=[shop.app.name])
    maximum = shop.app.migrations_dir / "max_migration.txt"
    maximum.write_text("0001_initial\n")
    return maximum


@pytest.mark.parametrize("command", ["makemigrations", "make_two_phase"])
def test_beside_django_linear_migrations_its_file_names_the_last_one(started, command):
    maximum = linear(started, "deploy_ops", LINEAR)
    started.app.models(CHANGED)
    started.run(command, "--dry-run")
    assert maximum.read_text() == "0001_initial\n"
    started.run(command, "--noinput")
    assert "deploy_ops.phases" in started.app.migrations()["0003_order_pieces_index"]
    assert maximum.read_text() == "0003_order_pieces_index\n"
    started.run("check")


def test_django_linear_migrations_in_front_is_found_by_the_check(started):
    linear(started, LINEAR, "deploy_ops")
    started.app.models(CHANGED)
    said = started.run("makemigrations", check=1).stderr
    assert "deploy_ops.C015" in said and f'Put "deploy_ops" before "{LINEAR}"' in said
    assert names(started) == ["0001_initial"]


def test_without_the_setting_django_linear_migrations_is_what_runs(started):
    maximum = linear(started, "deploy_ops", LINEAR)
    started.project.settings(DEPLOY_OPS_MAKEMIGRATIONS=False)
    started.app.models(CHANGED)
    started.run("makemigrations")
    [_, (name, text)] = started.app.migrations().items()
    assert "deploy_ops" not in text and maximum.read_text() == f"{name}\n"
