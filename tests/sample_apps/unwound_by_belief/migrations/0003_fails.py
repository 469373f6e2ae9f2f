from django.db import migrations


def fail(apps, schema_editor):
    """Finds what it did not expect."""
    raise ValueError("trips of two years are open")


class Migration(migrations.Migration):
    dependencies = [("unwound_by_belief", "0002_code")]

    operations = [migrations.RunPython(fail, migrations.RunPython.noop)]
