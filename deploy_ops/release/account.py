"""An account for one smoke test, so that no password of a standing one has to be kept anywhere."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from deploy_ops.redact import Secret

PREFIX = "deploy-ops-smoke-"
# Longer than any smoke test: what is older was left by one that was killed.
LEFT_AFTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Account:
    """A user that is there for the block alone."""

    user: Any
    name: str
    password: Secret


@contextmanager
def temporary_account(forget: Callable[[Any], object]) -> Iterator[Account]:
    """Make a user without any permission; it is gone when the block ends, however it does.

    `forget(user)` deletes what belongs to it first. Users that a killed test has left are removed
    the same way, before.
    """
    users = get_user_model().objects
    left = users.filter(username__startswith=PREFIX, date_joined__lt=timezone.now() - LEFT_AFTER)
    for user in left:
        _remove(user, forget)
    name, password = f"{PREFIX}{secrets.token_hex(8)}", secrets.token_urlsafe(32)
    user = users.create_user(username=name, password=password)
    try:
        yield Account(user, name, Secret(password))
    finally:
        _remove(user, forget)


def _remove(user: Any, forget: Callable[[Any], object]) -> None:
    forget(user)
    user.delete()
