from django.db import migrations


def fail(apps, schema_editor):
    """Finds what it did not expect."""
    raise ValueError("trips of two years are open")


class Migration(migrations.Migration):
    dependencies = [("writes_before_it_migrates", "0001_initial")]

    operations = [migrations.RunPython(fail, migrations.RunPython.noop)]
