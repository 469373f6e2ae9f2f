"""Whether systemd starts on this host, by itself, what nobody should have to remember (D010)."""

import json
import re
from collections.abc import Iterator

from django.core import checks
from django.core.checks import CheckMessage, Info

from deploy_ops.errors import ProgramError
from deploy_ops.process import run

# What a timer should start, by the words of the command.
WANTED = ("backup", "backups verify", "backups prune --delete")
OTHERWISE = "Something else may start them, such as cron or a CronJob of Kubernetes; look there."


def timer_findings() -> Iterator[CheckMessage]:
    """D010: a command that no active timer starts; Info where there is no systemd to ask."""
    try:
        started = _started_by_timers()
    except ProgramError as error:
        yield Info(
            f"Whether timers are installed is not known: {error}",
            hint=OTHERWISE,
            id="deploy_ops.D010",
        )
        return
    if missing := [words for words in WANTED if not _starts(words, started)]:
        yield checks.Warning(
            f"No active timer of systemd starts: {', '.join(missing)}.",
            hint=f"Install those of deploy/systemd: docs/howto/schedule-backups.md. {OTHERWISE}",
            id="deploy_ops.D010",
        )


def _started_by_timers() -> str:
    """The command lines of all services that active timers start."""
    timers = json.loads(run(["systemctl", "list-timers", "--output=json"]).stdout)
    services = sorted({each["activates"] for each in timers if each["activates"]})
    if not services:
        return ""
    return run(["systemctl", "show", "--property=ExecStart", "--", *services]).stdout


def _starts(words: str, started: str) -> bool:
    """Whether a command line has these words; an option may stand anywhere behind the command."""
    command, *options = words.split(" --")
    behind = "".join(rf"(?=[^;\n]* --{option}\b)" for option in options)
    return bool(re.search(rf"manage\.py {command}(?=[\s;]|$){behind}", started))
