import os

from django.db import migrations

from tests.sample_apps.meanwhile import meanwhile


def close_year(apps, schema_editor):
    """Finds what it did not expect."""
    meanwhile("failing")
    if "SUCCEEDS" not in os.environ:
        raise ValueError("trips of two years are open")


class Migration(migrations.Migration):
    dependencies = [("odd_names", "0002_receipt")]

    operations = [
        migrations.RunPython(close_year, migrations.RunPython.noop),
    ]
