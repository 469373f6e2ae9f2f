"""A long migration history, written on demand."""

from pathlib import Path

APP = "generated.many"

INITIAL = """from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Trip",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("purpose", models.CharField(max_length=200)),
                ("km", models.PositiveIntegerField()),
            ],
        ),
    ]
"""
ADD_COLUMN = """from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("many", "{previous}")]

    operations = [
        migrations.AddField(
            model_name="trip",
            name="note_{number}",
            field=models.CharField(max_length=40, null=True),
        ),
    ]
"""
MODELS = """from django.db import models


class Trip(models.Model):
    id = models.BigAutoField(primary_key=True)
    purpose = models.CharField(max_length=200)
    km = models.PositiveIntegerField()
"""
COLUMN = "    note_{number} = models.CharField(max_length=40, null=True)\n"


def write_many_migrations(directory: Path, count: int) -> str:
    """Write an app with `count` migrations below `directory`; its name for `with_apps`.

    `directory` has to be importable: `project.directory` is.
    """
    package = directory / "generated" / "many"
    migrations = package / "migrations"
    migrations.mkdir(parents=True)
    for path in (package, migrations):
        (path / "__init__.py").touch()
    previous = "0001_initial"
    (migrations / f"{previous}.py").write_text(INITIAL)
    models = MODELS
    for number in range(2, count + 1):
        name = f"{number:04}_note_{number}"
        text = ADD_COLUMN.format(previous=previous, number=number)
        (migrations / f"{name}.py").write_text(text)
        models += COLUMN.format(number=number)
        previous = name
    (package / "models.py").write_text(models)
    return APP
