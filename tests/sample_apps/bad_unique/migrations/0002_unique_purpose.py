from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bad_unique", "0001_initial")]

    operations = [
        migrations.AddConstraint(
            model_name="trip",
            constraint=models.UniqueConstraint(fields=["purpose"], name="bad_unique_purpose"),
        ),
    ]
