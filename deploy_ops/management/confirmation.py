"""The typed confirmation before the live database is replaced."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from deploy_ops.advice import manage
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Answer
from deploy_ops.errors import RestoreRefused, UsageError
from deploy_ops.restore import Loss, Since

# What excludes each other, and the option that has it.
WAYS = {"into": "into", "in-place": "in_place", "table": "tables", "rows": "rows"}


class Confirmation:
    """Consent by typing name and host, or given beforehand with --noinput --confirm NAME."""

    def __init__(
        self,
        tell: Callable[[str], None],
        options: Mapping[str, Any],
        command: Sequence[str] = (),
    ) -> None:
        """`command` is what was typed, where it is not `restore ID`."""
        self._tell = tell
        self._options = options
        self._command = command or ("restore", options["id"])
        self._names_nothing = not command and options["id"] is None

    def check_options(self) -> None:
        """Refuse before any work what would be declined after it; raises UsageError."""
        options = self._options
        ways = [
            f"--{way}" for way, option in WAYS.items() if options.get(option) not in (None, False)
        ]
        if len(ways) > 1:
            raise UsageError(f"{' and '.join(ways)} exclude each other. Nothing was changed.")
        if self._names_nothing and ways:
            raise UsageError(
                "Which backup to restore is missing: without an id, only what a killed restore "
                "left is repaired. Nothing was changed. See them:\n"
                "    python manage.py backups list"
            )
        changes_nothing = options["into"] is not None or options.get("rows") is not None
        if changes_nothing or options["interactive"] or self._names_nothing:
            return
        name = database_for(options["database"]).database_name
        if options["confirm"] not in {name, PurePath(name).name}:  # SQLite's name is a path
            raise RestoreRefused(
                f"{_what_is_wrong(options['confirm'])}: with --noinput it confirms the live "
                f"database by its name, {name}. Nothing was changed. To replace that database:\n"
                f"{_confirmed(self._command, options, name)}"
            )

    def ask(self, loss: Loss, counted: Since, view_differences: Iterable[str] = ()) -> Since | None:
        """Show what would be lost and ask; raises RestoreRefused unless name and host come back.

        Returns the moment up to which the loss was agreed to; None for consent that was given
        beforehand, to whatever is lost.
        """
        lines = [*view_differences, *describe_loss(loss)]
        return counted if self.confirm(loss.place, lines, "replace the live database") else None

    def confirm(self, place: str, lines: Iterable[str], deed: str) -> bool:
        """Show the lines and ask; raises RestoreRefused unless name and host come back.

        False for consent that was given beforehand, to whatever is lost.
        """
        for line in lines:
            self._tell(line)
        if not self._options["interactive"]:
            return False
        self._tell(f"To {deed}, type: {place}")
        answer = sys.stdin.readline()
        if answer.split() != place.split():
            raise RestoreRefused(
                f"{place} was not confirmed. The live database was not changed, and whatever "
                "was restored beside it is removed again."
            )
        return True


def _what_is_wrong(given: str | None) -> str:
    return f"--confirm {given} is another name" if given else "--confirm is missing"


def _confirmed(command: Sequence[str], options: Mapping[str, Any], name: str) -> str:
    words = [*command, "--noinput", "--confirm", name]
    flags = ("in_place", "end_requests", "trust_unauthenticated")
    words += [f"--{flag.replace('_', '-')}" for flag in flags if options[flag]]
    words += [word for table in options.get("tables") or () for word in ("--table", table)]
    return manage(*words, alias=options["database"])


def describe_loss(loss: Loss) -> list[str]:
    """What the live database would lose, in words."""
    minutes = loss.age.total_seconds() / 60
    lines = [f"The {loss.kind} of {loss.place} is {minutes:.0f} min old."]
    if loss.lsn_then:
        lines.append(f"Write-ahead log: {loss.lsn_then} then, {loss.lsn_now} now.")
    return [
        *lines,
        *describe_rows(loss),
        f"What would be lost can still be found in {loss.stays_in}.",
    ]


def describe_rows(loss: Loss) -> list[str]:
    """The same without its surroundings: rows by table, and whether there may be more."""
    lines = [
        f"    {table}: {_rows(abs(rows), 'more' if rows > 0 else 'fewer')} now than in the "
        + loss.kind
        for table, rows in loss.rows.items()
    ]
    lines += [
        f"    {table}: {_rows(rows)} inserted, updated or deleted since"
        for table, rows in loss.writes.rows.items()
        if loss.lsn_then  # SQLite counts no writes, only what is there
    ]
    lines += [
        f"    sequence {name}: {drawn} value{'' if drawn == 1 else 's'} drawn since, and then again"
        for name, drawn in loss.sequences.items()
    ]
    if catalogs := loss.writes.catalogs:
        lines.append(
            "    The schema was changed since, or temporary tables were made: rows of "
            f"{', '.join(catalogs)}"
        )
    if loss.writes.answer is Answer.NOBODY and not loss.sequences:
        lines.append("Nobody wrote since: nothing would be lost.")
    elif loss.writes.answer in (Answer.UNKNOWN, Answer.UNKNOWABLE):
        lines.append(f"Whether more was changed is not known: {loss.writes.evidence}.")
    return lines


def _rows(count: int, word: str = "") -> str:
    """`1 row`, `2 fewer rows`."""
    return " ".join(filter(None, [str(count), word, "row" if count == 1 else "rows"]))
