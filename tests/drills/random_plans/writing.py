"""Write a plan as an app that Django finds: generated/plan with its migrations."""

import shutil
from pathlib import Path

from tests.drills.random_plans.plans import Migration

APP = "generated.plan"
INITIAL = """from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Trip",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("purpose", models.CharField(max_length=40, default="")),
                ("km", models.IntegerField()),
                ("cost", models.DecimalField(max_digits=6, decimal_places=2, default=0)),
            ],
        ),
        migrations.CreateModel(
            "Receipt",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("text", models.TextField()),
                ("trip", models.ForeignKey("plan.Trip", models.CASCADE)),
            ],
        ),
    ]
"""
STEP = """{imports}from django.db import migrations, models

from tests.drills.random_plans.inside import lie, multiply, run_sql, scripted


@scripted
class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("plan", "{previous}")]
    operations = [
{operations}    ]
"""


def write_app(directory: Path, migrations: tuple[Migration, ...] = ()) -> None:
    """Write the app below `directory`, which has to be importable."""
    package = directory / "generated" / "plan"
    shutil.rmtree(package, ignore_errors=True)
    (package / "migrations").mkdir(parents=True)
    for path in (package.parent, package, package / "migrations"):
        (path / "__init__.py").touch()
    (package / "models.py").touch()
    (package / "migrations" / "0001_initial.py").write_text(INITIAL)
    previous = "0001_initial"
    for migration in migrations:
        (package / "migrations" / f"{migration.name}.py").write_text(source(migration, previous))
        previous = migration.name


def source(migration: Migration, previous: str) -> str:
    """One migration's file."""
    lines = [f"        {operation.source},\n" for operation in migration.operations]
    text = "".join(lines)
    imports = "from django.contrib.postgres import operations\n" if "operations.Add" in text else ""
    return STEP.format(imports=imports, atomic=migration.atomic, previous=previous, operations=text)
