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
        hint = f"\n{each.hint}" if each.hint else ""
        write(f"{_name(each).upper()} {each.msg}{hint}\n[{each.id}]\n")
        shown.append(each)
    errors = sum(each.level >= (WARNING if strict else ERROR) for each in shown)
    write(f"{_counted(errors, 'error')}, {_counted(len(shown) - errors, 'other finding')}.")
    return int(bool(errors)), {
        "status": "errors" if errors else "ok",
        "findings": [
            {"id": each.id, "level": _name(each), "message": each.msg, "hint": each.hint}
            for each in shown
        ],
    }


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _name(finding: CheckMessage) -> str:
    return NAMES.get(min(finding.level, ERROR), "info")
