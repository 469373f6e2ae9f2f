"""Words of the commands about flags: rules as people read them, and who types."""

import getpass
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from deploy_ops.errors import UsageError
from deploy_ops.flags.accounts import find_users
from deploy_ops.management.base import Json


def operator() -> str:
    """Who types this: the account of the system, and the host."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        account = f"uid {os.getuid()}"
    return f"{account}@{socket.gethostname()}"[:254]


def named_users(names: list[str]) -> Iterable[Any]:
    """The users of these names; UsageError naming the first that is not there."""
    found = find_users(names) if names else {}
    if missing := [name for name in names if name not in found]:
        raise UsageError(f"There is no user {missing[0]!r}. Nothing was changed.")
    return found.values()


def spoken_rules(rules: Json | None) -> str:
    """Rules in words: `5.00 %, groups pilots`, or `on (kept for later: 5.00 %)`."""
    if not rules:
        return "as declared"
    targets = {
        "percentage": f"{rules.get('percentage')} %",
        "users": f"users {', '.join(rules.get('users', ()))}",
        "groups": f"groups {', '.join(rules.get('groups', ()))}",
        "attributes": ", ".join(
            f"{name} {' or '.join(values)}" for name, values in rules.get("attributes", {}).items()
        ),
        "staff": "staff",
        "superusers": "superusers",
    }
    dates = {
        "starts_at": f"from {rules.get('starts_at')}",
        "ends_at": f"until {rules.get('ends_at')}",
    }
    words, bounds = _joined(targets, rules), _joined(dates, rules)
    if "everyone" in rules:
        kept = f"(kept for later: {words})" if words else ""
        words = " ".join(filter(None, ["on" if rules["everyone"] else "off", kept]))
    return ", ".join(filter(None, [words, bounds]))


def _joined(words: Mapping[str, str], rules: Json) -> str:
    return ", ".join(text for name, text in words.items() if name in rules)
