from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deferred_constraint", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Receipt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("cents", models.PositiveIntegerField()),
                (
                    "trip",
                    models.ForeignKey(on_delete=models.CASCADE, to="deferred_constraint.trip"),
                ),
            ],
        ),
    ]
