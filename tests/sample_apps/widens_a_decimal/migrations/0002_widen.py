import os
from decimal import Decimal

from django.db import migrations, models

from tests.sample_apps.meanwhile import meanwhile


def write(apps, schema_editor):
    """Uses the digits that are new, if OWN_PRICE is set."""
    if "OWN_PRICE" in os.environ:
        trips = apps.get_model("widens_a_decimal", "Trip").objects.using(
            schema_editor.connection.alias
        )
        trips.update(price=Decimal(os.environ["OWN_PRICE"]))


class Migration(migrations.Migration):
    dependencies = [("widens_a_decimal", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="trip",
            name="price",
            field=models.DecimalField(max_digits=8, decimal_places=4, null=True),
        ),
        migrations.RunPython(write, migrations.RunPython.noop),
    ]
