"""Attributes of who asks, such as a country: from functions that the settings name."""

import logging
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from deploy_ops.conf import conf
from deploy_ops.errors import InvalidRules
from deploy_ops.flags.rules import Rules

_log = logging.getLogger("deploy_ops.flags")
_reported: set[str] = set()


def read_attribute(name: str, request: HttpRequest | None, user: Any) -> frozenset[str]:
    """The values of an attribute for somebody; none if it is not declared, or cannot be read.

    The error of a function is logged once in each process: a page must not fail for a flag.
    """
    path = conf.flags_attributes.get(name)
    try:
        return texts_of(import_function(path)(request, user)) if path else frozenset()
    except Exception:  # pylint: disable=broad-exception-caught  # foreign code may raise anything
        if name not in _reported:
            _reported.add(name)
            message = "The attribute %s cannot be read; rules that ask for it do not apply."
            _log.exception(message, name)
        return frozenset()


@cache
def import_function(path: str) -> Callable[[HttpRequest | None, Any], Any]:
    """What a path in DEPLOY_OPS_FLAGS_ATTRIBUTES names; ImportError if it is not there."""
    found: Callable[[HttpRequest | None, Any], Any] = import_string(path)
    return found


def undeclared_attributes(rules: Rules | None) -> set[str]:
    """Names of attributes in rules that DEPLOY_OPS_FLAGS_ATTRIBUTES has not."""
    return set(rules.by_attribute) - set(conf.flags_attributes) if rules else set()


def refuse_new_attributes(rules: Rules | None, before: Rules | None) -> None:
    """InvalidRules for attributes that are not declared, but for those that were there before."""
    new = undeclared_attributes(rules) - undeclared_attributes(before)
    if new:
        declared = ", ".join(conf.flags_attributes) or "none"
        raise InvalidRules(
            f"There is no attribute {min(new)!r}. Nothing was changed. DEPLOY_OPS_FLAGS_ATTRIBUTES "
            f"declares: {declared}."
        )


def texts_of(value: Any) -> frozenset[str]:
    """One value or several, as rules have them; None is none."""
    if value is None:
        return frozenset()
    is_one = isinstance(value, str) or not isinstance(value, Iterable)
    return frozenset([str(value)] if is_one else map(str, value))
