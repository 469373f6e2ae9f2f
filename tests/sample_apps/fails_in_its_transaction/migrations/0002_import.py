import os
import sys

from django.db import migrations

from tests.sample_apps.meanwhile import meanwhile


class Speechless(Exception):
    """Cannot even say what it is."""

    def __str__(self):
        raise RuntimeError("no words")


class Unusual(BaseException):
    """Not an Exception."""


def recurse():
    """Never comes back."""
    recurse()


def fail(how):
    """Fail in that way."""
    if how == "exit":
        sys.exit(0)
    if how == "recursion":
        recurse()
    raise {"speechless": Speechless, "unusual": Unusual, "value": ValueError}[how]("no amount")


def write(apps, schema_editor):
    """Writes a row first."""
    trips = apps.get_model("fails_in_its_transaction", "Trip").objects.using(
        schema_editor.connection.alias
    )
    trips.create(purpose="half-way", km=1)
    meanwhile("failing")
    fail(os.environ.get("FAILS_BY", "value"))


class Migration(migrations.Migration):
    dependencies = [("fails_in_its_transaction", "0001_initial")]

    operations = [
        migrations.RunPython(write, migrations.RunPython.noop),
    ]
