from django.db import migrations

from tests.sample_apps.meanwhile import meanwhile


def close_year(apps, schema_editor):
    """Finds what it did not expect."""
    meanwhile("failing")
    raise ValueError("trips of two years are open")


class Migration(migrations.Migration):
    dependencies = [("fills_partitions", "0002_stage")]

    operations = [
        migrations.RunPython(close_year, migrations.RunPython.noop),
    ]
