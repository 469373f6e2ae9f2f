"""Who types a command about flags, and whom they name."""

import getpass
import os
import socket
from collections.abc import Iterable
from typing import Any

from deploy_ops.errors import UsageError
from deploy_ops.flags.accounts import find_users


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
