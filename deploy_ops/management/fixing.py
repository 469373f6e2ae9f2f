"""`make_two_phase --fix`: what it writes, and what it says."""

from collections.abc import Callable, Sequence
from os.path import relpath
from typing import Any

from django.apps import apps

from deploy_ops.errors import UsageError
from deploy_ops.management.base import Json
from deploy_ops.phases.generate import Fixed, Left, judge_pending, write_whole

Tell = Callable[[str], None]


def fix_migrations(options: Json, tell: Tell, stderr: Any) -> tuple[int, Json]:
    """Rewrite what no database has applied; with --check exit code 1 if there is any such."""
    labels = _known(options["apps"])
    results = list(judge_pending(labels))
    is_written = not (options["dry_run"] or options["check_changes"])
    fixed = [each for each in results if isinstance(each, Fixed)]
    if is_written:
        write_whole({path: text for each in fixed for path, text in each.texts.items()}, stderr)
    for each in results:
        if isinstance(each, Fixed):
            _tell_fixed(each, is_written, options["verbosity"], tell)
        else:
            tell(f"Left {each.app}.{each.name}: {each.why}")
    if not results:
        tell("There is no migration that no database has applied.")
    left = [each for each in results if isinstance(each, Left) and not each.is_safe]
    code = int(bool(fixed) and options["check_changes"])
    return code, {
        "status": "refused" if code else "ok",
        "files": [str(path) for each in fixed for path in each.texts] if is_written else [],
        "rewritten": [[each.app, each.name] for each in fixed],
        "left": [{"app": each.app, "name": each.name, "why": each.why} for each in left],
    }


def _tell_fixed(fixed: Fixed, is_written: bool, verbosity: int, tell: Tell) -> None:
    verb = "Rewrote" if is_written else "Would rewrite"
    tell(f"{verb} {fixed.app}.{fixed.name}:")
    for path, text in fixed.texts.items():
        tell(f"  {relpath(path)}")
        if verbosity == 3:
            tell(text)
    for operation in fixed.operations:
        tell(f"    {operation}")


def _known(labels: Sequence[str]) -> Sequence[str]:
    for label in labels:
        try:
            apps.get_app_config(label)
        except LookupError as error:
            raise UsageError(f"{error} Nothing was written.") from error
    return labels
