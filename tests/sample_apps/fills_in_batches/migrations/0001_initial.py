from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [("deploy_ops", "0003_backfill")]

    operations = [
        migrations.CreateModel(
            name="Trip",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("purpose", models.CharField(max_length=200)),
                ("km", models.PositiveIntegerField()),
                ("n", models.IntegerField(db_default=0)),
                ("m", models.IntegerField(db_default=0)),
                ("refund", models.DecimalField(max_digits=8, decimal_places=2, null=True)),
            ],
        ),
    ]
