"""What all commands share: options, exit codes, output for people and for programs."""

import argparse
import json
import logging
import os
import shutil
import sys
import traceback
from abc import ABC, abstractmethod
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from datetime import timedelta
from typing import Any, ClassVar

import django
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError, NotSupportedError, connections

from deploy_ops.errors import DeployOpsError, Interrupted, VersionRefused
from deploy_ops.interrupts import interruptible
from deploy_ops.management.arguments import require_text
from deploy_ops.management.output import LastingOutput, spelled, stdout_kept_clear
from deploy_ops.management.progress import TerminalProgress
from deploy_ops.management.tables import table
from deploy_ops.progress import Progress, Silent, listening
from deploy_ops.redact import server_text

Json = dict[str, Any]
LONGEST_NUMBER = 9  # digits: any database counts that far
UNITS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def duration(text: str) -> timedelta:
    """Read `200ms`, `2s`, `5m`, `26h`, `7d`, or bare seconds."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        value = timedelta(seconds=float(number) * UNITS[text[len(number) :]])
    except (ValueError, KeyError, OverflowError):
        raise ArgumentTypeError(
            f"{text!r} is not a duration such as 200ms, 2s, 5m, 26h, 7d"
        ) from None
    if not timedelta(0) <= value < timedelta(days=36500):
        raise ArgumentTypeError(f"{text!r} is out of range")
    return value


def spoken_age(age: timedelta) -> str:
    """Say it in the unit that tells most: `3 min`, `26 h`, `7 d`."""
    hours = age.total_seconds() / 3600
    if hours >= 48:
        return f"{hours / 24:.0f} d"
    return f"{hours:.0f} h" if hours >= 2 else f"{hours * 60:.0f} min"


def whole_number(text: str) -> int:
    """Read a whole number from 0."""
    if not text.isdecimal() or len(text) > LONGEST_NUMBER:
        raise ArgumentTypeError(f"{text[:99]!r} is not a whole number from 0")
    return int(text)


def line_count(text: str) -> int:
    """Read how many lines of a list are shown: of none nobody could tell it from an empty one."""
    if not whole_number(text):
        raise ArgumentTypeError("0 is not a whole number from 1")
    return int(text)


class OpsCommand(BaseCommand, ABC):
    """A command that calls one function of the plain core and prints what it returns.

    Subclasses define `operate(options) -> (exit code, JSON object)`. They may print what was asked
    for, or has to be known, with `self.tell`, and what was done with `self.report`. DeployOpsError
    becomes its message on stderr and its exit code; with `--format json` also one object on stdout,
    and nothing else there.
    """

    formats: ClassVar[tuple[str, ...]] = ("text", "json")
    requires_system_checks: list[str] = []  # a broken URLconf must not stop a backup

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.as_json = False
        self.verbosity = 1
        self.progress: Progress = Silent()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Add the options that all commands take."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help="database alias",
        )
        parser.add_argument(
            "--format",
            default="text",
            choices=self.formats,
            help="text for people (default), json for programs",
        )
        parser.add_argument(
            "--noinput",
            "--no-input",
            action="store_false",
            dest="interactive",
            help="never ask, for scripts",
        )
        return parser

    @abstractmethod
    def operate(self, options: Json) -> tuple[int, Json]:
        """Do the work; return the exit code and what `--format json` prints."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run `operate` and leave with its exit code; from code, raise CommandError with it."""
        if getattr(self, "_called_from_command_line", False):  # set by BaseCommand
            # Imported here: it needs the models, and commands are imported before they are loaded.
            from deploy_ops.phases.heartbeat import heartbeat

            heartbeat.turn_off()
        self.as_json = options["format"] == "json"
        self.stdout, self.stderr = LastingOutput(self.stdout), LastingOutput(self.stderr)
        self.verbosity = options["verbosity"]
        is_terminal = sys.stderr.isatty() and not self.as_json
        if self.verbosity:
            self.progress = TerminalProgress(self.tell, is_terminal, self.verbosity)
        try:
            reported = _reported_warnings(self.stderr.write)
            heard = listening(self.progress)
            with interruptible(), reported, heard, self._stdout_for_json():
                require_text(options.values())
                code, result = self.operate(options)
        except DeployOpsError as error:
            code, result = self._explain(error, options["traceback"])
        except NotSupportedError as error:
            if not _is_refused_by_django(options["database"] or DEFAULT_DB_ALIAS):
                raise  # of something else, and then nobody knows what was done before it
            refused = f"{error} Django {django.get_version()} refuses this database; stopped there."
            code, result = self._explain(VersionRefused(refused), options["traceback"])
        except KeyboardInterrupt:
            code, result = self._explain(Interrupted("Stopped by the operator."), False)
        if self.as_json:
            self.stdout.write(json.dumps(result, default=str))
        if code and getattr(self, "_called_from_command_line", False):
            sys.exit(code)  # what there is to say has been said, without "CommandError:" before it
        if code:
            raise CommandError(result.get("message") or result["status"], returncode=code)

    def _stdout_for_json(self) -> AbstractContextManager[object]:
        """Keep what foreign code prints (a migration) out of the one object on stdout."""
        if not self.as_json:
            return nullcontext()
        is_process = getattr(self, "_called_from_command_line", False)
        return stdout_kept_clear() if is_process else redirect_stdout(sys.stderr)

    def tell(self, text: str) -> None:
        """Say something to people: on stdout, or on stderr when stdout belongs to JSON."""
        stream = self.stderr if self.as_json else self.stdout
        stream.write(text)
        stream.flush()  # in a log that both streams share, the order is the order of events

    def report(self, text: str) -> None:
        """Say what was done, which nobody needs to read: nothing with `--verbosity 0`."""
        if self.verbosity:
            self.tell(text)

    def tell_table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Say a table to people: fitted to their terminal, and plain text elsewhere."""
        is_terminal = self.stdout.isatty() and not self.as_json
        encoding = (self.stderr if self.as_json else self.stdout).encoding
        self.tell(
            table(
                headings,
                ([spelled(cell, encoding) for cell in row] for row in rows),
                width=shutil.get_terminal_size().columns if is_terminal else None,
                style=str if _is_plain() else self.style.SQL_TABLE,
            )
        )

    def _explain(self, error: DeployOpsError, with_traceback: bool) -> tuple[int, Json]:
        if with_traceback:
            self.stderr.write(server_text("".join(traceback.format_exception(error))))
        self.stderr.write(str(error))
        status = "failed" if error.exit_code > 2 else "error"
        return error.exit_code, {
            "status": status,
            "error": type(error).__name__,
            "message": str(error),
        }


def _is_refused_by_django(alias: str) -> bool:
    """Whether the server is too old for Django, which then connects to it for nothing at all."""
    try:
        connections[alias].check_database_version_supported()
    except NotSupportedError:
        return True
    except DatabaseError:  # it does not answer any more
        return False
    return False


def _is_plain() -> bool:
    """Whether the terminal, or who sits at it, wants no escape sequences; see no-color.org."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


class ActionsCommand(OpsCommand):
    """A command of several actions, such as `backups list`; each action is a function.

    Subclasses name the `actions` and give each its own options in `add_options`.
    """

    actions: ClassVar[Mapping[str, Callable[["ActionsCommand", Json], tuple[int, Json]]]]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Give each action its options and the common ones, so that these may stand anywhere."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        common = super().create_parser(prog_name, subcommand, add_help=False)
        for option in common._actions:  # pylint: disable=protected-access
            option.default = argparse.SUPPRESS  # or it would undo what stood before the action
        parsers = parser.add_subparsers(dest="action", required=True)
        self.add_options(
            {
                name: parsers.add_parser(name, help=action.__doc__, parents=[common])
                for name, action in self.actions.items()
            }
        )
        return parser

    @abstractmethod
    def add_options(self, parsers: Mapping[str, CommandParser]) -> None:
        """Add the options of each action to its parser."""

    def operate(self, options: Json) -> tuple[int, Json]:
        """Call the action."""
        return self.actions[options["action"]](self, options)


@contextmanager
def _reported_warnings(tell: Callable[[str], object]) -> Iterator[None]:
    """Say on stderr what is logged meanwhile: a file set aside, a storage that does not answer."""
    handler = _Teller(tell)
    ours = logging.getLogger("deploy_ops")
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)


class _Teller(logging.Handler):
    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message."""
        self._tell(record.getMessage())
