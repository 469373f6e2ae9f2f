from django.db import migrations


def write_orphan(apps, schema_editor):
    """Succeeds; PostgreSQL looks at the foreign key only when the transaction commits."""
    receipt_model = apps.get_model("deferred_constraint", "Receipt")
    receipt_model.objects.using(schema_editor.connection.alias).create(trip_id=999_999, cents=1)


class Migration(migrations.Migration):
    dependencies = [("deferred_constraint", "0002_receipt")]

    operations = [
        migrations.RunPython(write_orphan, migrations.RunPython.noop),
    ]
