from django.db import connections, migrations


def export(apps, schema_editor):
    """Writes a row here and one there."""
    trips = apps.get_model("writes_elsewhere", "Trip").objects.using(schema_editor.connection.alias)
    trips.create(purpose="exported", km=1)
    with connections["archive"].cursor() as cursor:
        cursor.execute("INSERT INTO exported (purpose) VALUES ('Messe')")
    raise ValueError("line 2 of the export has no amount")


class Migration(migrations.Migration):
    dependencies = [("writes_elsewhere", "0001_initial")]

    operations = [
        migrations.RunPython(export, migrations.RunPython.noop),
    ]
