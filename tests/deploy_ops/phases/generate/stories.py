"""One change of models, written plainly and in two phases: both have to end in the same schema."""

import re
from dataclasses import dataclass

import pytest

from deploy_ops.databases import database_for
from tests.conftest import POSTGRESQL
from tests.project.runner import Project
from tests.sample_apps.modelled import ModelledApp

on_15 = pytest.mark.parametrize("database", ["sqlite", POSTGRESQL[0]], indirect=True)
CONTRACT = ("safe_migrate", "--phase", "contract", "--force", "--no-backup")
IMPORT = re.compile(r"^(?:from|import) ([\w.]+)", re.M)
NAMED_BY_DJANGO = re.compile(r"\bshop_\w+_(?:key|uniq|check)\b")
MAY_IMPORT = re.compile(r"django\.|deploy_ops\.phases$|datetime$|uuid$")


@dataclass
class Shop:
    """A project with an app that changes."""

    project: Project
    app: ModelledApp
    alias: str

    def run(self, *argv, check=0, **options):
        """A command that has to end well."""
        return self.project.run(*argv, check=check, **options)

    def start(self, models: str) -> None:
        """The first release."""
        self.app.models(models)
        self.run("makemigrations", "shop", "--noinput")
        self.run("safe_migrate", "--no-backup")

    def change(self, models: str, *, answers: str | None = None) -> dict[str, str]:
        """Generate the migrations of the next release: their texts by name."""
        before = set(self.app.migrations())
        self.app.models(models)
        how = {"input": answers} if answers is not None else {}
        self.run("make_two_phase", "shop", *([] if how else ["--noinput"]), **how)
        new = {name: text for name, text in self.app.migrations().items() if name not in before}
        for text in new.values():
            assert all(MAY_IMPORT.match(name) for name in IMPORT.findall(text)), text
        self.run("makemigrations", "--check", "--dry-run")
        return new

    def refuse(self, models: str) -> str:
        """Generate, and be refused: what is said. Nothing is written."""
        before = self.app.migrations()
        self.app.models(models)
        result = self.run("make_two_phase", "shop", "--noinput", check=1)
        assert self.app.migrations() == before
        return result.stderr

    def schema(self):
        """The whole schema."""
        return database_for(self.alias).schema()

    def assert_schema(self, expected) -> None:
        """Compare; what Django's own way back changes does not count.

        A column that was dropped comes back at the end of its table, a constraint that came with
        the table under another name.
        """
        lines = self.schema().difference(expected)
        here, there = (_parts(each for each in lines if each[0] == sign) for sign in "+-")
        assert here == there, lines

    def apply(self) -> None:
        """Both phases, the code of the old release being gone in the second."""
        if self.project.database.vendor == "postgresql":
            self.run("lint_migrations", "shop", "--two-phase")
        self.expand()
        self.contract()

    def expand(self) -> None:
        """The first phase; on SQLite lint takes an unsigned integer for another type."""
        allowed = [] if self.project.database.vendor == "postgresql" else ["--allow", "L107"]
        self.run("safe_migrate", "--no-backup", *allowed)

    def contract(self) -> None:
        """The second phase."""
        self.run(*CONTRACT)

    def ends_as_django(
        self, models: str, *, answers: str | None = None, plain_answers: str | None = None
    ) -> dict[str, str]:
        """Compare with Django's plain migrations: forwards, backwards, forwards."""
        start = self.schema()
        self.app.models(models)
        answered = plain_answers if plain_answers is not None else answers
        how = {"input": answered} if answered is not None else {}
        self.run("makemigrations", "shop", *([] if how else ["--noinput"]), **how)
        self.run("migrate", "shop")
        plain = self.schema()
        self.run("migrate", "shop", "0001")
        self.assert_schema(start)
        self.app.remove_behind("0001")

        written = self.change(models, answers=answers)
        self.apply()
        self.assert_schema(plain)
        self.run("migrate", "shop", "0001")
        self.assert_schema(start)
        self.expand()
        self.run("migrate", "shop", "0001")  # while the second phase waits
        self.assert_schema(start)
        self.apply()
        self.assert_schema(plain)
        return written


def _parts(lines) -> list[str]:
    """The columns and constraints in lines of a difference, sorted."""
    text = ",".join(NAMED_BY_DJANGO.sub("auto", line[1:].strip(" ,)")) for line in lines)
    return sorted(part.strip() for part in re.split(r",|\(|\)", text))
