from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("separate_state", "0002_purpose_twice")]

    operations = [
        migrations.CreateModel(
            name="Old",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.IntegerField(null=True)),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.AlterField("old", "number", models.BigIntegerField(null=True)),
                migrations.RemoveField("old", "number"),
            ],
            state_operations=[migrations.RemoveField("old", "number")],
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.AlterModelTable("old", "separate_state_older"),
                migrations.DeleteModel("old"),
            ],
            state_operations=[migrations.DeleteModel("old")],
        ),
    ]
