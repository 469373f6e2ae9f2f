"""Findings of Django's kind as people and programs read them."""

from collections.abc import Callable, Iterable

from django.core.checks import ERROR, INFO, WARNING, CheckMessage
from django.core.management.base import CommandParser

from deploy_ops.management.base import Json

NAMES = {INFO: "info", WARNING: "warning", ERROR: "error"}


def add_strict(parser: CommandParser) -> None:
    """Add `--strict`, for `show_checks`."""
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")


def show_checks(
    findings: Iterable[CheckMessage], write: Callable[[str], object], strict: bool = False
) -> tuple[int, Json]:
    """Print each as it is found, with its cure; exit code 1 if one is an error.

    With `strict` a warning is one too.
    """
    shown = []
    for each in findings:
        write(f"{describe(each)}\n")
        shown.append(each)
    errors = sum(each.level >= (WARNING if strict else ERROR) for each in shown)
    write(f"{_counted(errors, 'error')}, {_counted(len(shown) - errors, 'other finding')}.")
    return int(bool(errors)), {
        "status": "errors" if errors else "ok",
        "findings": [as_json(each) for each in shown],
    }


def describe(finding: CheckMessage) -> str:
    """Level, message, cure and id, as people read them."""
    hint = f"\n{finding.hint}" if finding.hint else ""
    return f"{_name(finding).upper()} {finding.msg}{hint}\n[{finding.id}]"


def as_json(finding: CheckMessage) -> Json:
    """The same as programs read it."""
    level, message = _name(finding), finding.msg
    return {"id": finding.id, "level": level, "message": message, "hint": finding.hint}


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _name(finding: CheckMessage) -> str:
    return NAMES.get(min(finding.level, ERROR), "info")
