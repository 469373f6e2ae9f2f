from django.db import migrations


def import_trips(apps, schema_editor):
    """Writes a row and meets a file it cannot read."""
    trip_model = apps.get_model("bad_after_run_python", "Trip")
    trip_model.objects.using(schema_editor.connection.alias).create(purpose="half-way", km=1)
    raise ValueError("line 7 of the import has no purpose")


class Migration(migrations.Migration):
    dependencies = [("bad_after_run_python", "0002_metres")]

    operations = [
        migrations.RunPython(import_trips, migrations.RunPython.noop),
    ]
