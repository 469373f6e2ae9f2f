from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("adds_and_fails", "0002_note")]

    operations = [
        migrations.CreateModel(
            name="Receipt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("cents", models.PositiveIntegerField()),
                ("trip", models.ForeignKey("adds_and_fails.trip", models.CASCADE)),
            ],
        ),
    ]
