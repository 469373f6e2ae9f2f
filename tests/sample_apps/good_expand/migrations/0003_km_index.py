from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("good_expand", "0002_cost_centre")]

    operations = [
        migrations.AddIndex(
            model_name="trip",
            index=models.Index(fields=["km"], name="good_expand_km"),
        ),
    ]
