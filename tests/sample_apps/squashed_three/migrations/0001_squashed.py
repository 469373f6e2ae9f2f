from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    replaces = [
        ("squashed_three", "0001_initial"),
        ("squashed_three", "0002_note"),
        ("squashed_three", "0003_place"),
    ]

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Trip",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("purpose", models.CharField(max_length=200)),
                ("km", models.PositiveIntegerField()),
                ("note", models.CharField(max_length=40, null=True)),
                ("place", models.CharField(max_length=40, null=True)),
            ],
        ),
    ]
