"""What all commands share: options, exit codes, output for people and for programs."""

import argparse
import json
import logging
import sys
import time
import traceback
from abc import ABC, abstractmethod
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from datetime import timedelta
from typing import Any, ClassVar

import django
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, connections

from deploy_ops.errors import DeployOpsError, Interrupted, VersionRefused
from deploy_ops.interrupts import interruptible
from deploy_ops.management.arguments import require_text
from deploy_ops.management.output import LastingOutput
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


class OpsCommand(BaseCommand, ABC):
    """A command that calls one function of the plain core and prints what it returns.

    Subclasses define `operate(options) -> (exit code, JSON object)` and may print text with
    `self.tell`. DeployOpsError becomes its message on stderr and its exit code; with
    `--format json` also one object on stdout, and nothing else there.
    """

    formats: ClassVar[tuple[str, ...]] = ("text", "json")
    requires_system_checks: list[str] = []  # a broken URLconf must not stop a backup

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.as_json = False
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
        parser.add_argument("--format", default="text", choices=self.formats)
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
        self.progress = TerminalProgress(self.tell, sys.stderr.isatty() and not self.as_json)
        try:
            reported = _reported_warnings(self.stderr.write)
            heard = listening(self.progress)
            with interruptible(), reported, heard, self._stdout_for_json():
                require_text(options.values())
                code, result = self.operate(options)
        except DeployOpsError as error:
            code, result = self._explain(error, options["traceback"])
        except NotSupportedError as error:  # raised by Django when it connects to an old server
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
        return redirect_stdout(sys.stderr) if self.as_json else nullcontext()

    def tell(self, text: str) -> None:
        """Say something to people: on stdout, or on stderr when stdout belongs to JSON."""
        stream = self.stderr if self.as_json else self.stdout
        stream.write(text)
        stream.flush()  # in a log that both streams share, the order is the order of events

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


class TerminalProgress:
    """Progress on a terminal as a bar with rate and remaining time, elsewhere as plain lines."""

    def __init__(self, tell: Callable[[str], None], is_terminal: bool) -> None:
        self._tell = tell
        self._is_terminal = is_terminal

    def say(self, text: str) -> None:
        """Tell one step."""
        self._tell(text)

    @contextmanager
    def track(self, label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Follow bytes done so far; plain lines come at most every ten seconds."""
        if self._is_terminal:
            # Imported here: rich takes longer to load than a command that finds nothing to do.
            from deploy_ops.management.terminal import progress_bar

            with progress_bar() as shown:
                task = shown.add_task(label, total=total_bytes)
                yield lambda done: shown.update(task, completed=done)
        else:
            yield PlainLines(label, total_bytes, self._tell, _spoken_bytes)

    @contextmanager
    def track_rows(self, label: str, total_rows: int) -> Iterator[Callable[[int], None]]:
        """Follow rows done so far; the bar counts on from where an earlier run stopped."""
        if self._is_terminal:
            from deploy_ops.management.terminal import row_bar

            with row_bar() as shown:
                task = shown.add_task(label, total=total_rows)
                yield lambda done: shown.update(task, completed=done)
        else:
            yield PlainLines(label, total_rows, self._tell, _spoken_rows)


class PlainLines:
    """Progress for logs: a line every ten seconds."""

    INTERVAL_SECONDS = 10.0

    def __init__(
        self,
        label: str,
        total: int,
        tell: Callable[[str], None],
        spoken: Callable[[int, int, float], str],
    ) -> None:
        self._label = label
        self._total = total
        self._tell = tell
        self._spoken = spoken
        self._started = self._last_report = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if now - self._last_report < self.INTERVAL_SECONDS or done == self._first:
            return
        self._last_report = now
        rate = (done - self._first) / (now - self._started)
        left = max(0, self._total - done) / rate
        spoken = self._spoken(done, self._total, rate)
        self._tell(f"{self._label}: {spoken}, about {left:.0f} s left")


def _spoken_bytes(done: int, total: int, rate: float) -> str:
    return f"{done / 1e6:.0f} of {total / 1e6:.0f} MB, {rate / 1e6:.1f} MB/s"


def _spoken_rows(done: int, total: int, rate: float) -> str:
    return f"{done} of about {max(done, total)} rows, {rate:.0f} rows/s"
