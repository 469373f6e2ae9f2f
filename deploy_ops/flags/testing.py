"""Flags in tests: forced in memory, for the code that runs inside, without any row."""

from collections.abc import Callable, Mapping
from contextlib import ContextDecorator
from contextvars import Token
from functools import wraps
from inspect import isclass
from types import MappingProxyType
from typing import Any

from asgiref.sync import iscoroutinefunction

from deploy_ops.errors import UnknownFlag
from deploy_ops.flags.declaration import declared_flags
from deploy_ops.flags.evaluation import overrides
from deploy_ops.flags.store import store


def override_flag(name: str, enabled: bool = True) -> "Override":
    """Force a flag, as decorator of a function (sync or async) or as context manager.

    It comes before everything else, the environment included. Other threads and tasks that are
    not started from inside see nothing of it. UnknownFlag for a flag that is not declared.
    """
    return Override(name, enabled)


def forget_flags() -> None:
    """Let this process read environment and database anew, as a test that changes them needs."""
    store.forget()


class Override(ContextDecorator):
    """What override_flag returns."""

    def __init__(self, name: str, enabled: bool) -> None:
        self._name = name
        self._enabled = enabled
        self._tokens: list[Token[Mapping[str, bool] | None]] = []

    def __enter__(self) -> None:
        if self._name not in declared_flags():
            raise UnknownFlag(f"{self._name!r} is not declared in DEPLOY_OPS_FLAGS.")
        forced = {**(overrides.get() or {}), self._name: self._enabled}
        self._tokens.append(overrides.set(MappingProxyType(forced)))

    def __exit__(self, *_error: object) -> None:
        overrides.reset(self._tokens.pop())

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:  # type: ignore[override]
        if isclass(func):  # a test class would become a function, and its tests vanish
            raise TypeError("override_flag decorates functions. Decorate each test of the class.")
        if not iscoroutinefunction(func):
            return super().__call__(func)

        @wraps(func)
        async def forced(*args: Any, **kwargs: Any) -> Any:
            with self._recreate_cm():
                return await func(*args, **kwargs)

        return forced

    def _recreate_cm(self) -> "Override":
        """A fresh one for each call, since calls may overlap."""
        return Override(self._name, self._enabled)
