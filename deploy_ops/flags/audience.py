"""Who has a flag: a look at the users, without asking anybody in."""

from dataclasses import dataclass
from typing import Any

from deploy_ops.flags.accounts import some_users
from deploy_ops.flags.declaration import declared_flags
from deploy_ops.flags.person import UserContext
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.state import Evaluation, State, take_snapshot

LOOKED_AT = 1000  # users; a function of an attribute may take a millisecond for each


@dataclass(frozen=True, slots=True)
class Audience:
    """The names of those who have a flag, of `looked_at` of all `users` users.

    Visitors without a login are not among them; deactivated users are left out.
    """

    names: tuple[str, ...]
    looked_at: int
    users: int

    @property
    def is_complete(self) -> bool:
        """Was everybody looked at?"""
        return self.looked_at == self.users


def find_audience(state: State) -> Audience:
    """Who has the flag now; ConfigurationError without django.contrib.auth."""
    users, count = some_users(LOOKED_AT)
    active = [user for user in users if getattr(user, "is_active", True)]
    included = [user for user in active if answer_for(state, user).enabled]
    return Audience(tuple(str(user.get_username()) for user in included), len(users), count)


def answer_for(state: State, user: Any) -> Evaluation:
    """What the flag is for a user outside of a request."""
    return state.evaluate(UserContext(None, user))


def state_with(name: str, rules: Rules | None) -> State:
    """The state that a declared flag would have with these rules, were they stored."""
    rows = {} if rules is None else {name: rules}
    return take_snapshot(declared_flags(), {}, rows).states[name]
