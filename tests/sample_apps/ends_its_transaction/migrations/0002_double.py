import os

from django.db import migrations

from tests.sample_apps.meanwhile import meanwhile


def double(apps, schema_editor):
    """Ends the transaction in the way that ENDS_BY names, and then fails unless SUCCEEDS is set."""
    connection = schema_editor.connection
    apps.get_model("ends_its_transaction", "Trip").objects.using(connection.alias).update(km=0)
    how = os.environ["ENDS_BY"]
    if how in ("commit", "rollback"):
        getattr(connection.connection, how)()
    else:
        with connection.cursor() as cursor:
            cursor.execute(how)
    meanwhile("failing")
    if "SUCCEEDS" not in os.environ:
        raise ValueError("the second half is missing")


class Migration(migrations.Migration):
    dependencies = [("ends_its_transaction", "0001_initial")]

    operations = [
        migrations.RunPython(double, migrations.RunPython.noop),
    ]
