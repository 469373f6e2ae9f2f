from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("two_leaves", "0001_initial")]

    operations = [
        migrations.AddField("trip", "driver", models.CharField(max_length=40, null=True)),
    ]
