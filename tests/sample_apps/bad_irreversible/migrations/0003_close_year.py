from django.db import migrations


def close_year(apps, schema_editor):
    """Finds what it did not expect."""
    raise ValueError("trips of two years are open")


class Migration(migrations.Migration):
    dependencies = [("bad_irreversible", "0002_upper_case")]

    operations = [
        migrations.RunPython(close_year, migrations.RunPython.noop),
    ]
