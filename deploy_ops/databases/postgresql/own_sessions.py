"""The sessions that this process has opened, itself and by its programs: no strangers.

A server counts every session of a database. What it has counted since a moment, less what is
counted here since the same moment, was opened by somebody else.
"""

import threading
import weakref
from collections import Counter
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

_lock = threading.Lock()
_opened: Counter[str] = Counter()
_connections: "weakref.WeakSet[psycopg.Connection[Any]]" = weakref.WeakSet()
_pids: set[int] = set()


def note_connection(connection: "psycopg.Connection[Any]") -> None:
    """Count a session that has just been opened."""
    with _lock:
        _opened[connection.info.dbname] += 1
        _connections.add(connection)
        _pids.add(connection.info.backend_pid)


def note_program(dbname: str, sessions: int) -> None:
    """Count the sessions of a program that has ended well."""
    with _lock:
        _opened[dbname] += sessions


def opened(dbname: str) -> int:
    """How many sessions of a database were opened so far."""
    return _opened[dbname]


def open_pids() -> list[int]:
    """Server processes of the connections that are open now."""
    with _lock:
        return [each.info.backend_pid for each in _connections if not each.closed]


def are_ending(pids: list[int]) -> bool:
    """Whether all of these server processes were ours, so that waiting for their end helps."""
    return set(pids) <= _pids


def _note_django(connection: BaseDatabaseWrapper, **_: object) -> None:
    if isinstance(connection.connection, psycopg.Connection):
        note_connection(connection.connection)


connection_created.connect(_note_django, dispatch_uid="deploy_ops.own_sessions")
