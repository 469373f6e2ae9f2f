"""System checks of flags: what to tidy up, and the middleware's place.

Only C011 asks the database, and so runs with `check --database default` and before `migrate`.
"""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.db import Error as DatabaseFailure

from deploy_ops.advice import manage
from deploy_ops.flags.declaration import declared_flags
from deploy_ops.flags.overview import local_today
from deploy_ops.flags.stored import flags_alias, read_rules

FLAGS = "deploy_ops.flags.middleware.FlagsMiddleware"
CACHE = "django.middleware.cache.UpdateCacheMiddleware"


@register("deploy_ops")
def check_overdue_flags(**_options: Any) -> list[CheckMessage]:
    """C010: a flag that was to be removed from the code by now."""
    today = local_today()
    return [
        checks.Warning(
            f"The flag {name} was to be removed by {flag.remove_by}.",
            hint="Remove the flag from the code, or set a later remove_by (owner: "
            f"{flag.owner or 'none'}).",
            id="deploy_ops.C010",
        )
        for name, flag in declared_flags().items()
        if flag.is_overdue(today)
    ]


@register(Tags.database)
def check_undeclared_flags(databases: Iterable[str] | None, **_options: Any) -> list[CheckMessage]:
    """C011: a row for a flag that no code can ask for any more."""
    alias = flags_alias()
    if alias not in (databases or ()):
        return []
    try:
        rows = read_rules(alias)
    except DatabaseFailure:  # before the first migration there is no table
        return []
    return [
        checks.Warning(
            f"The database has rules for the flag {name}, which is not declared.",
            hint=f"Remove them:\n{manage('flags', 'clear', name, alias=alias)}",
            id="deploy_ops.C011",
        )
        for name in sorted(set(rows) - set(declared_flags()))
    ]


@register("deploy_ops")
def check_flags_middleware(**_options: Any) -> list[CheckMessage]:
    """C012: flags without the middleware that reads them at the beginning of a request."""
    if not declared_flags() or FLAGS in settings.MIDDLEWARE:
        return []
    return [
        checks.Warning(
            "FlagsMiddleware is not in MIDDLEWARE: one page may mix two states of a flag, with "
            "ATOMIC_REQUESTS a change may never be seen, and visitors without a login never "
            "belong to a percentage.",
            hint=f"Add {FLAGS} at the end of MIDDLEWARE.",
            id="deploy_ops.C012",
        )
    ]


@register("deploy_ops")
def check_flags_before_the_cache(**_options: Any) -> list[CheckMessage]:
    """C013: pages are cached before flags have said for whom they are."""
    order = [name for name in settings.MIDDLEWARE if name in (FLAGS, CACHE)]
    if order != [FLAGS, CACHE]:
        return []
    return [
        checks.Warning(
            "FlagsMiddleware comes before UpdateCacheMiddleware, so a page that a percentage "
            "decides about is cached without Vary: Cookie, and one visitor's goes to all.",
            hint=f"Move {FLAGS} behind {CACHE} in MIDDLEWARE.",
            id="deploy_ops.C013",
        )
    ]
