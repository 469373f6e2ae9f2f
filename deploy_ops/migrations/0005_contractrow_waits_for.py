from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deploy_ops", "0004_instance")]

    operations = [
        migrations.AddField(
            model_name="contractrow",
            name="waits_for",
            field=models.TextField(db_default="", default=""),
        ),
    ]
