from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("deploy_ops", "0003_backfill"),
    ]

    operations = [
        migrations.CreateModel(
            name="Instance",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "release",
                        "host",
                        "program",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("release", models.CharField(max_length=100)),
                ("host", models.CharField(max_length=255)),
                ("program", models.CharField(max_length=100)),
                ("pid", models.IntegerField()),
                ("first_seen", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
    ]
