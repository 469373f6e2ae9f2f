from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("index_with_a_space", "0001_initial")]

    operations = [
        AddIndexConcurrently("trip", models.Index(100 / models.F("km"), name="Reise je km")),
    ]
