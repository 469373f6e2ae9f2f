from django.db import migrations

from tests.sample_apps.meanwhile import meanwhile


def close_year(apps, schema_editor):
    """Finds what it did not expect."""
    meanwhile("failing")
    raise ValueError("trips of two years are open")


class Migration(migrations.Migration):
    dependencies = [("widens_a_decimal", "0003_write")]

    operations = [
        migrations.RunPython(close_year, migrations.RunPython.noop),
    ]
