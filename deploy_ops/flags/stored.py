"""The rows of the flags, read: their version, and all of them as rules."""

from datetime import datetime

from django.db import router

from deploy_ops.flags.rules import Rules
from deploy_ops.models import FlagState, FlagVersion

Version = tuple[int, datetime | None]
NEVER_CHANGED: Version = (0, None)


def flags_alias() -> str:
    """The alias of the database that has the flags; of replicas the one that is written to."""
    return router.db_for_write(FlagVersion)


def read_version(alias: str) -> Version:
    """The version of all rows together; (0, None) before the first change."""
    rows = FlagVersion.objects.using(alias).values_list("version", "changed_at")
    return next(iter(rows), NEVER_CHANGED)


def read_rows(alias: str) -> dict[str, FlagState]:
    """Every row, declared or not, in one statement and so of one moment."""
    return {state.name: state for state in FlagState.objects.using(alias)}


def read_rules(alias: str) -> dict[str, Rules]:
    """The rules of every row."""
    return {name: rules_of(row) for name, row in read_rows(alias).items()}


def rules_of(state: FlagState) -> Rules:
    """The rules of a row."""
    return Rules.of(vars(state))
