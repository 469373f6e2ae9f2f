from django.db import migrations

from tests.sample_apps.meanwhile import meanwhile


def close_year(apps, schema_editor):
    """Finds what it did not expect."""
    meanwhile("failing")
    raise ValueError("trips of two years are open")


class Migration(migrations.Migration):
    dependencies = [("truncates_and_fails", "0002_empty")]

    operations = [
        migrations.RunPython(close_year, migrations.RunPython.noop),
    ]
