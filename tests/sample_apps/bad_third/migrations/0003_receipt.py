from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bad_third", "0002_note")]

    operations = [
        migrations.CreateModel(
            name="Receipt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("cents", models.PositiveIntegerField()),
                (
                    "trip",
                    models.ForeignKey(on_delete=models.CASCADE, to="bad_third.trip"),
                ),
            ],
        ),
    ]
