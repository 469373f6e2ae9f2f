"""An account for one smoke test, so that no password of a standing one has to be kept anywhere.

It is this process's while it holds the lock on the file of its name in `smoke/` of the state
directory, so that the next smoke test knows at once which accounts a killed one has left.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.db.models import EmailField, QuerySet
from django.utils import timezone

from deploy_ops.audit import SMOKE_ACCOUNT
from deploy_ops.lock_file import LockFile, holder_of
from deploy_ops.places import state_directory
from deploy_ops.redact import Secret
from deploy_ops.release.account_flag import put_flags_back

SMOKE = "smoke"
# Longer than any smoke test: what is older was left by one on another host, whose locks are there.
LEFT_AFTER = timedelta(minutes=15)
# Sessions are dated by the clock of the host that serves.
CLOCKS_DIFFER = timedelta(minutes=5)
MADE = "%Y%m%d%H%M%S"  # UTC
Forget = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Account:
    """A user that is there for the block alone."""

    user: Any
    name: str
    password: Secret


@contextmanager
def temporary_account(forget: Forget, **values: Any) -> Iterator[Account]:
    """Make a user without any permission; it is gone when the block ends, however it does.

    So are its sessions, and flags that were switched on for it are as they were. `forget(user)`
    deletes what belongs to it first. What a killed test has left is removed the same way, before.
    `values` are those of fields that the project's user model requires besides name and password.
    """
    locks = state_directory(SMOKE)
    _remove_left(locks, forget)
    model: Any = get_user_model()
    name, password = _new_name(model), secrets.token_urlsafe(32)
    with LockFile(locks / name, "smoke_test").held():
        user = model(**{model.USERNAME_FIELD: name}, **values)
        user.set_password(password)
        user.save(force_insert=True)
        try:
            yield Account(user, name, Secret(password))
        finally:
            _remove(user, forget)
            (locks / name).unlink()


def _new_name(model: Any) -> str:
    """A name that says when the account was made, which not every user model does."""
    name = f"{SMOKE_ACCOUNT}{datetime.now(UTC):{MADE}}-{secrets.token_hex(4)}"
    is_email = isinstance(model._meta.get_field(model.USERNAME_FIELD), EmailField)
    return f"{name}@smoke.invalid" if is_email else name  # a domain that nobody has (RFC 2606)


def _made_at(name: str) -> datetime:
    """When an account was made; long ago if its name does not say."""
    try:
        made = datetime.strptime(name.removeprefix(SMOKE_ACCOUNT)[:14], MADE)
    except ValueError:
        made = datetime(1970, 1, 1)
    return made.replace(tzinfo=UTC)


def _remove_left(locks: Path, forget: Forget) -> None:
    here = {path.name for path in locks.iterdir()}
    killed = {name for name in here if holder_of(locks / name) is None}
    old, model = datetime.now(UTC) - LEFT_AFTER, get_user_model()
    named: QuerySet[Any] = QuerySet(model)
    for user in named.filter(**{f"{model.USERNAME_FIELD}__startswith": SMOKE_ACCOUNT}):
        name = user.get_username()
        if name in killed or (name not in here and _made_at(name) < old):
            _remove(user, forget)
    for name in killed:
        (locks / name).unlink(missing_ok=True)


def _remove(user: Any, forget: Forget) -> None:
    put_flags_back(user)
    forget(user)
    _end_sessions(user)
    user.delete()


def _end_sessions(user: Any) -> None:
    """Delete those in the database; in a cache nobody finds them, and they end by themselves.

    Whose a session is stands in its data alone, so those are read that were saved since the account
    was made.
    """
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if not apps.is_installed("django.contrib.sessions") or not hasattr(store, "get_model_class"):
        return
    age = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    since = _made_at(user.get_username()) + age - CLOCKS_DIFFER
    since = since if settings.USE_TZ else timezone.make_naive(since)
    sessions = store.get_model_class().objects
    for session in sessions.filter(expire_date__gte=since):
        if session.get_decoded().get(SESSION_KEY) == str(user.pk):
            store(session.session_key).delete()
