from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("squashed_three", "0002_note")]

    operations = [
        migrations.AddField(
            model_name="trip",
            name="place",
            field=models.CharField(max_length=40, null=True),
        ),
    ]
