from django.db import migrations


def import_receipts(apps, schema_editor):
    """Writes a row and meets a file it cannot read."""
    trip_model = apps.get_model("bad_third", "Trip")
    trip_model.objects.using(schema_editor.connection.alias).create(purpose="half-way", km=1)
    raise ValueError("line 7 of the import has no amount")


class Migration(migrations.Migration):
    dependencies = [("bad_third", "0003_receipt")]

    operations = [
        migrations.RunPython(import_receipts, migrations.RunPython.noop),
    ]
