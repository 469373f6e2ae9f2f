import os
import time

from django.db import migrations, models


def wait(apps, schema_editor):
    """Busy in the server on PostgreSQL, in Python elsewhere."""
    seconds = float(os.environ.get("SLOW_MIGRATION_SECONDS", "30"))
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SELECT pg_sleep(%s)", [seconds])
    else:
        time.sleep(seconds)


class Migration(migrations.Migration):
    dependencies = [("slow_migration", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="trip",
            name="note",
            field=models.CharField(max_length=40, null=True),
        ),
        migrations.RunPython(wait, migrations.RunPython.noop),
    ]
