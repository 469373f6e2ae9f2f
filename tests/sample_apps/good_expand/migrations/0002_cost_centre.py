from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("good_expand", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="trip",
            name="cost_centre",
            field=models.CharField(max_length=40, null=True),
        ),
    ]
