from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("widens_a_decimal", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="trip",
            name="price",
            field=models.DecimalField(max_digits=8, decimal_places=4, null=True),
        ),
    ]
