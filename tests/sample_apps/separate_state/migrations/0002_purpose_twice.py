from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("separate_state", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RemoveField("trip", "purpose")],
            state_operations=[migrations.RemoveField("trip", "purpose")],
        ),
    ]
