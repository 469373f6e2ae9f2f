from django.db import migrations
from django.db.models import F


def to_metres(apps, schema_editor):
    """Kilometres become metres."""
    trip_model = apps.get_model("bad_after_run_python", "Trip")
    trip_model.objects.using(schema_editor.connection.alias).update(km=F("km") * 1000)


def to_kilometres(apps, schema_editor):
    """The exact reverse: whole kilometres divide without remainder."""
    trip_model = apps.get_model("bad_after_run_python", "Trip")
    trip_model.objects.using(schema_editor.connection.alias).update(km=F("km") / 1000)


class Migration(migrations.Migration):
    dependencies = [("bad_after_run_python", "0001_initial")]

    operations = [
        migrations.RunPython(to_metres, to_kilometres),
    ]
