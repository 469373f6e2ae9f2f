from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("deploy_ops", "0006_operations"),
    ]

    operations = [
        migrations.AddField(
            model_name="flagstate",
            name="attributes",
            field=models.JSONField(blank=True, null=True, verbose_name="attributes"),
        ),
    ]
