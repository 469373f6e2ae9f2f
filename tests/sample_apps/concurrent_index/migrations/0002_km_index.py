from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("concurrent_index", "0001_initial")]

    operations = [
        AddIndexConcurrently(
            model_name="trip",
            index=models.Index(fields=["km"], name="concurrent_index_km"),
        ),
    ]
