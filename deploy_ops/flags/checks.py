"""System checks of flags: what to tidy up, and the middleware's place.

C011 and C024 ask the database, and so run with `check --database default` and before `migrate`.
"""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.db import Error as DatabaseFailure

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError
from deploy_ops.flags.attributes import import_function, undeclared_attributes
from deploy_ops.flags.declaration import declared_flags, is_name
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
    """C011: a row for a flag that no code can ask for any more. C024: for such an attribute."""
    alias = flags_alias()
    if alias not in (databases or ()):
        return []
    try:
        rows = read_rules(alias)
    except DatabaseFailure:  # before the first migration there is no table
        return []
    unknown = [_undeclared_flag(name, alias) for name in sorted(set(rows) - set(declared_flags()))]
    return unknown + [
        _undeclared_attribute(name, attribute, alias)
        for name in declared_flags()
        for attribute in sorted(undeclared_attributes(rows.get(name)))
    ]


def _undeclared_flag(name: str, alias: str) -> CheckMessage:
    return checks.Warning(
        f"The database has rules for the flag {name}, which is not declared.",
        hint=f"Remove them:\n{manage('flags', 'clear', name, alias=alias)}",
        id="deploy_ops.C011",
    )


def _undeclared_attribute(name: str, attribute: str, alias: str) -> CheckMessage:
    return checks.Warning(
        f"The flag {name} has a rule for the attribute {attribute}, which is not declared, so that "
        "rule applies to nobody.",
        hint="Declare it in DEPLOY_OPS_FLAGS_ATTRIBUTES, or set other rules:\n"
        + manage("flags", "show", name, alias=alias),
        id="deploy_ops.C024",
    )


@register("deploy_ops")
def check_attributes(**_options: Any) -> list[CheckMessage]:
    """C023: an attribute whose name no rule can have, or without a function."""
    try:
        found = {name: _fault(name, path) for name, path in conf.flags_attributes.items()}
    except ConfigurationError:
        return []  # C003 tells it
    return [
        checks.Error(
            f"DEPLOY_OPS_FLAGS_ATTRIBUTES[{name!r}] cannot be used: {fault}",
            hint="An entry reads {'country': 'shop.flags.country_of'}, a function that is called "
            "with the request and the user, of which each may be None.",
            id="deploy_ops.C023",
        )
        for name, fault in found.items()
        if fault
    ]


def _fault(name: Any, path: Any) -> str:
    if not isinstance(name, str) or not is_name(name):
        return "a name has small letters, digits and _."
    if not isinstance(path, str):
        return "it has to be the dotted path of a function."
    try:
        return "" if callable(import_function(path)) else f"{path} is no function."
    except ImportError as error:
        return f"{error}."


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
