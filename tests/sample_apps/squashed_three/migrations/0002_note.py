from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("squashed_three", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="trip",
            name="note",
            field=models.CharField(max_length=40, null=True),
        ),
    ]
