"""What was found: a CheckMessage that knows its operation, lock, time and cure."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from dataclasses import dataclass
from typing import Any

from django.core.checks import CheckMessage
from django.db.migrations.operations.base import Operation

from deploy_ops.migrate.lint.cures import to_paste
from deploy_ops.migrate.lint.source import Source

PREFIX = "deploy_ops."


@dataclass(frozen=True, slots=True)
class Place:
    """An operation of a migration, or the migration itself (index -1), and where it is written."""

    migration: str
    index: int = -1
    source: Source = Source()
    operation: Operation | None = None
    comment: int = 0  # the line of a comment that it is about

    @property
    def path(self) -> str:
        """The file, "" where there is none."""
        return self.source.path

    @property
    def line(self) -> int:
        """The line in the file, 0 where it is not known."""
        return self.comment or self.source.line_of(max(self.index, 0))

    def __str__(self) -> str:
        described = self.operation.describe() if self.operation else ""
        where = f"{self.path}:{self.line}" if self.path else ""
        return ": ".join(filter(None, (where or self.migration, described)))


class Finding(CheckMessage):
    """One danger of one operation."""

    def __init__(  # pylint: disable=too-many-arguments
        self,
        rule: str,
        level: int,
        msg: str,
        *,
        place: Place,
        cure: str = "",
        table: str = "",
        lock: str = "",
        waiting: str = "",
        seconds: float | None = None,
    ) -> None:
        super().__init__(level, msg, hint=to_paste(cure), obj=place, id=PREFIX + rule)
        self.rule, self.place, self.table = rule, place, table
        self.lock, self.waiting, self.seconds = lock, waiting, seconds

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "id": self.id,
            "level": NAMES[self.level],
            "migration": self.place.migration,
            "operation": self.place.index,
            "file": self.place.path or None,
            "line": self.place.line or None,
            "table": self.table or None,
            "lock": self.lock or None,
            "waiting": self.waiting or None,
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "message": self.msg,
            "cure": self.hint,
        }


NAMES = {20: "info", 30: "warning", 40: "error"}
