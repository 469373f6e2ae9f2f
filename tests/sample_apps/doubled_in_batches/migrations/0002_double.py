from django.db import migrations

from tests.sample_apps.meanwhile import meanwhile


def double(apps, schema_editor):
    """Doubles each trip in a transaction of its own; a trip without a distance stops it."""
    trips = apps.get_model("doubled_in_batches", "Trip").objects.using(
        schema_editor.connection.alias
    )
    for trip in trips.order_by("id"):
        if not trip.km:
            meanwhile("failing")
            raise ValueError(f"trip {trip.pk} has no distance")
        trips.filter(pk=trip.pk).update(km=2 * trip.km)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("doubled_in_batches", "0001_initial")]

    operations = [
        migrations.RunPython(double, migrations.RunPython.noop),
    ]
