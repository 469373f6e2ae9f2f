"""A flag that is on for the account of a smoke test: people see no difference.

Nobody is switched off for it: where a flag is on for everybody, or the environment decides, there
is nothing to try. After a kill the rules still name the account, by which they are found.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deploy_ops.conf import conf
from deploy_ops.errors import SmokeTestFailed
from deploy_ops.flags import (
    Rules,
    Source,
    change_flag,
    flag_enabled,
    flag_overview,
    flag_overviews,
    stored_rules,
)
from deploy_ops.lock_file import LockFile
from deploy_ops.places import state_directory

if TYPE_CHECKING:
    from deploy_ops.release.account import Account

LOCK = "smoke-flags.lock"
# A request that has just begun may still have the state before.
MARGIN_SECONDS = 0.5


@contextmanager
def flag_on_for(account: "Account", name: str) -> Iterator[None]:
    """Switch a flag on for the account alone, in every process when the block begins.

    When it ends the flag has its rules from before, and every process knows. What somebody else
    changed meanwhile stays. Two smoke tests on one host wait for each other. Nothing is changed
    where it is on for the account anyway. Raises SmokeTestFailed where the environment has it off,
    UnknownFlag, FlagConflict.
    """
    if flag_enabled(name, user=account.user):
        yield
        return
    if flag_overview(name).is_forced:
        raise SmokeTestFailed(f"the environment has the flag {name} off, whatever its rules are")
    with LockFile(state_directory() / LOCK, "smoke_test").held():
        rules, revision = stored_rules(name)
        _change(name, _with(account.user, rules), revision, account.name, "its account alone")
        try:
            _wait_for_all_processes()
            yield
        finally:
            put_flags_back(account.user)
        _wait_for_all_processes()


def put_flags_back(user: Any) -> None:
    """Give each flag whose rules name the account those that it had before."""
    for flag in flag_overviews():
        if flag.rules is None or str(user.pk) not in flag.rules.users:
            continue
        last, name = flag.last_change, user.get_username()
        if last is not None and last.by == name:
            before = None if last.old is None else Rules.of(last.old)
        else:
            before = replace(flag.rules, users=flag.rules.users - {str(user.pk)})
        _change(flag.name, before, flag.revision, name, "as it was")


def _with(user: Any, rules: Rules | None) -> Rules:
    """The same for everybody else: rules that switch nobody on are left out for the time."""
    if rules is None or rules.everyone is False or rules.missed_date():
        rules = Rules()
    return replace(rules, users=rules.users | {str(user.pk)})


def _change(name: str, rules: Rules | None, revision: int, by: str, reason: str) -> None:
    change_flag(
        name,
        rules,
        expected_revision=revision,
        by=by,
        source=Source.CODE,
        reason=f"smoke test: {reason}",
    )


def _wait_for_all_processes() -> None:
    time.sleep(conf.flags_poll_seconds + MARGIN_SECONDS)
