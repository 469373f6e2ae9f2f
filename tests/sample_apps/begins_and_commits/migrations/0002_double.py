from django.db import migrations

from tests.sample_apps.meanwhile import meanwhile


def fail(apps, schema_editor):
    """Fails after the SQL before it has committed."""
    meanwhile("failing")
    raise ValueError("the second half is missing")


class Migration(migrations.Migration):
    dependencies = [("begins_and_commits", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "BEGIN; UPDATE begins_and_commits_trip SET km = km * 2; COMMIT;",
            migrations.RunSQL.noop,
        ),
        migrations.RunPython(fail, migrations.RunPython.noop),
    ]
