"""A ticket shop after years: 300 migrations of two apps, with the shapes that such histories have.

A round of ten is written thirty times. It makes tables, says what becomes of them in lists of
SeparateDatabaseAndState that say the same twice, more than the models know, or nothing to the
database, and takes away what an earlier round has left. Every tenth round begins squashed, with
what the squash replaces still there.
"""

from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent, indent

ROUNDS = 30
LEFT = 3  # rounds whose models are still there
SQUASHED = range(5, ROUNDS, 10)
FAILS_IN = 25  # the last migration of this round fails while the environment has FAILS
MODULES = ("generated.shop", "generated.stock")

MIGRATION = """import os

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations import *
from django.db.models import F


def raise_prices(apps, schema_editor):
    event = apps.get_model("shop", "event{n}")
    event.objects.create(title="first", price={n})
    event.objects.update(price=F("price") + 1)
    if "FAILS" in os.environ and {n} == {fails_in}:
        raise ValueError("tickets of two years are open")


class Migration(migrations.Migration):
    atomic = {atomic}
    replaces = {replaces}
    dependencies = {dependencies}
    operations = [{operations}    ]
"""
SEAT = """
    CreateModel("Seat{n}", [
        ("id", models.BigAutoField(primary_key=True, serialize=False)),
        ("event", models.ForeignKey("shop.event{n}", models.CASCADE)),
    ]),
"""
MADE = f"""
    CreateModel("Event{{n}}", [
        ("id", models.BigAutoField(primary_key=True, serialize=False)),
        ("name", models.CharField(max_length=80)),
        ("price", models.IntegerField(default=0)),
        ("code", models.CharField(max_length=8, null=True)),
        ("note", models.TextField(null=True)),
        ("link", models.TextField(null=True)),
    ]),
    CreateModel("Draft{{n}}", [
        ("id", models.BigAutoField(primary_key=True, serialize=False)),
        ("number", models.IntegerField(null=True)),
    ]),
{SEAT}
"""
FOLLOWED = """
    AddField("event{n}", "before", models.ForeignKey("shop.event{m}", models.CASCADE, null=True)),
    AlterUniqueTogether("event{n}", {{("name", "code")}}),
"""
REMOVED_TWICE = """
    AlterUniqueTogether("event{n}", set()),
    RenameField("event{n}", "name", "title"),
    SeparateDatabaseAndState([RemoveField("event{n}", "code")], [RemoveField("event{n}", "code")]),
"""
ALTERED_AND_REMOVED = """
    SeparateDatabaseAndState(
        [
            AlterField("draft{n}", "number", models.BigIntegerField(null=True)),
            RemoveField("draft{n}", "number"),
        ],
        [RemoveField("draft{n}", "number")],
    ),
"""
RENAMED_AND_DELETED = """
    SeparateDatabaseAndState(
        [AlterModelTable("draft{n}", "shop_older{n}"), DeleteModel("draft{n}")],
        [DeleteModel("draft{n}")],
    ),
"""
FORGOTTEN = """
    SeparateDatabaseAndState([], [SeparateDatabaseAndState([], [RemoveField("event{n}", "note")])]),
    RunSQL("ALTER TABLE shop_event{n} DROP note", "ALTER TABLE shop_event{n} ADD note text NULL"),
    RunSQL(
        "ALTER TABLE shop_event{n} DROP link",
        "ALTER TABLE shop_event{n} ADD link text NULL",
        state_operations=[RemoveField("event{n}", "link")],
    ),
"""
HANDED_OVER = """
    SeparateDatabaseAndState(
        [AlterModelTable("seat{n}", "stock_seat{n}")], [DeleteModel("seat{n}")]
    ),
"""
TAKEN_OVER = f"""
    SeparateDatabaseAndState([], [
{indent(SEAT.strip(), " " * 4)}
    ]),
"""
INDEXED = """
    SeparateDatabaseAndState(
        [AddIndexConcurrently("event{n}", models.Index(fields=["price"], name="price{n}"))],
        [AddIndex("event{n}", models.Index(fields=["price"], name="price{n}"))],
    ),
"""
FILLED = """
    RunPython(raise_prices, RunPython.noop),
"""
SEATS_GONE = """
    DeleteModel("Seat{gone}"),
"""
EVENTS_GONE = """
    RemoveField("event{next}", "before"),
    DeleteModel("Event{gone}"),
"""
ROUND = (
    ("shop", "made", MADE),
    ("shop", "followed", FOLLOWED),
    ("shop", "removed_twice", REMOVED_TWICE),
    ("shop", "altered_and_removed", ALTERED_AND_REMOVED),
    ("shop", "renamed_and_deleted", RENAMED_AND_DELETED),
    ("shop", "forgotten", FORGOTTEN),
    ("shop", "handed_over", HANDED_OVER),
    ("stock", "taken_over", TAKEN_OVER),
    ("shop", "indexed", INDEXED),
    ("shop", "filled", FILLED),
)
IN_A_SQUASH = 7
MODELS = {
    "shop": """

class Event{n}(models.Model):
    id = models.BigAutoField(primary_key=True)
    title = models.CharField(max_length=80)
    price = models.IntegerField(default=0)
    {before}

    class Meta:
        indexes = [models.Index(fields=["price"], name="price{n}")]
""",
    "stock": """

class Seat{n}(models.Model):
    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey("shop.Event{n}", models.CASCADE)
""",
}
BEFORE = 'before = models.ForeignKey("shop.Event{m}", models.CASCADE, null=True)'


@dataclass
class TicketShop:
    """The two apps below a directory that can be imported from, and their migrations in order."""

    directory: Path
    written: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for app, text in MODELS.items():
            self._migrations(app).mkdir(parents=True)
            package = self._migrations(app).parent
            for path in (package.parent, package, package / "migrations"):
                (path / "__init__.py").touch()
            models = (_model(text, n) for n in range(ROUNDS - LEFT, ROUNDS))
            (package / "models.py").write_text("\n".join(["from django.db import models", *models]))
        for n in range(ROUNDS):
            self._write_round(n)

    def pending(self, rounds: int = ROUNDS) -> int:
        """How many an empty database lacks of so many rounds; a squash stands for some."""
        return sum(10 - (IN_A_SQUASH - 1) * (n in SQUASHED) for n in range(rounds))

    def _migrations(self, app: str) -> Path:
        return self.directory / "generated" / app / "migrations"

    def _write_round(self, n: int) -> None:
        if n in SQUASHED:
            names = [f"{10 * n + at:04}_{ROUND[at][1]}" for at in range(IN_A_SQUASH)]
            operations = "".join(each for _, _, each in ROUND[:IN_A_SQUASH])
            replaces = [("shop", name) for name in names]
            self._write("shop", f"{names[0]}_squashed", operations, n, replaces)
        for app, what, operations in ROUND:
            if n >= LEFT:
                operations += {"taken_over": SEATS_GONE, "filled": EVENTS_GONE}.get(what, "")
            name = f"{len(self.written):04}_{what}"
            self._write(app, name, operations, n)
            self.written.append((app, name))

    def _write(self, app: str, name: str, operations: str, n: int, replaces=()) -> None:
        own = [each for each in self.written if each[0] == app]
        numbers = {"n": n, "m": max(n - 1, 0), "gone": n - LEFT, "next": n - LEFT + 1}
        text = MIGRATION.format(
            n=n,
            fails_in=FAILS_IN,
            atomic="Concurrently" not in operations,
            replaces=replaces,
            dependencies=list(dict.fromkeys(own[-1:] + self.written[-1:])),
            operations=indent(dedent(operations.format(**numbers)), " " * 4),
        )
        (self._migrations(app) / f"{name}.py").write_text(text)


def _model(text: str, n: int) -> str:
    before = BEFORE.format(m=n - 1) if n > ROUNDS - LEFT else ""
    return text.format(n=n, before=before)
