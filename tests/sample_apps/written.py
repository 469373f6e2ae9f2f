"""An app whose migrations a test writes one after the other, as pull requests would."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

MIGRATION = """from django.db import migrations, models
from deploy_ops.phases import *


class Migration(migrations.Migration):
    atomic = {atomic}
    replaces = {replaces}
    dependencies = [{dependencies}]
    operations = [
{operations}
    ]
"""


@dataclass
class WrittenApp:
    """The app `generated.<label>` below a project's directory; has no models in code."""

    directory: Path
    label: str = "shop"
    last: str = ""

    def __post_init__(self) -> None:
        self._migrations.mkdir(parents=True)
        for path in (self._package.parent, self._package, self._migrations):
            (path / "__init__.py").touch()
        (self._package / "models.py").write_text("")

    @property
    def name(self) -> str:
        """As in INSTALLED_APPS."""
        return f"generated.{self.label}"

    @property
    def _package(self) -> Path:
        return self.directory / "generated" / self.label

    @property
    def _migrations(self) -> Path:
        return self._package / "migrations"

    def migration(self, name: str, operations: str, *, atomic: bool = True) -> None:
        """Add a migration that follows the last one."""
        dependencies = '("deploy_ops", "0002_contract_rows"), '
        dependencies += f'("{self.label}", "{self.last}")' if self.last else ""
        text = MIGRATION.format(
            atomic=atomic,
            replaces=[],
            dependencies=dependencies,
            operations=indent(dedent(operations).strip(), " " * 8),
        )
        (self._migrations / f"{name}.py").write_text(text)
        self.last = name

    def squash(self, name: str, replaced: list[str], operations: str) -> None:
        """Add a migration that stands for others."""
        text = MIGRATION.format(
            atomic=True,
            replaces=[(self.label, each) for each in replaced],
            dependencies='("deploy_ops", "0002_contract_rows"), ',
            operations=indent(dedent(operations).strip(), " " * 8),
        )
        (self._migrations / f"{name}.py").write_text(text)

    def remove(self, name: str) -> None:
        """Take a migration away again, as an older release has it not."""
        (self._migrations / f"{name}.py").unlink()


def deploy_first(project, initial: str, *command: str) -> WrittenApp:
    """The app with its first migration applied, in a project that works in two phases."""
    app = WrittenApp(project.directory)
    app.migration("0001_initial", initial)
    project.with_apps(app.name).settings(DEPLOY_OPS_TWO_PHASE=True)
    project.run(*(command or ("safe_migrate", "--no-backup")), check=0)
    return app
