from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("own_user", "0001_initial")]

    operations = [
        migrations.AddField("member", "city", models.CharField(max_length=80, null=True)),
    ]
