from django.db import migrations


def write_upper_case(apps, schema_editor):
    """Forgets how the purposes were written before."""
    trip_model = apps.get_model("bad_irreversible", "Trip")
    for trip in trip_model.objects.using(schema_editor.connection.alias).all():
        trip.purpose = trip.purpose.upper()
        trip.save()


class Migration(migrations.Migration):
    dependencies = [("bad_irreversible", "0001_initial")]

    operations = [
        migrations.RunPython(write_upper_case),
    ]
