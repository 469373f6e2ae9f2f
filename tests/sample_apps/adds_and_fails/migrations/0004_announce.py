from django.db import migrations

from tests.sample_apps.meanwhile import meanwhile


def announce(apps, schema_editor):
    """Writes nothing."""
    meanwhile("applied")


def take_back(apps, schema_editor):
    """Runs while the run is undone."""
    meanwhile("reversing")


class Migration(migrations.Migration):
    dependencies = [("adds_and_fails", "0003_receipt")]

    operations = [
        migrations.RunPython(announce, take_back),
    ]
