from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("odd_names", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Receipt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("cents", models.PositiveIntegerField(db_column="Betrag in Cent")),
            ],
            options={"db_table": "Reise Belege"},
        ),
        migrations.AddField(
            model_name="trip",
            name="note",
            field=models.CharField(max_length=40, null=True, db_column="Über die Fahrt"),
        ),
        migrations.AddIndex("trip", models.Index(fields=["km"], name="Reise km")),
    ]
