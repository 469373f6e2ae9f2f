"""The sessions that this process has opened, itself and by its programs: no strangers.

A server counts every session of a database. What it has counted since a moment, less what is
counted here since the same moment, was opened by somebody else.
"""

import threading
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

_lock = threading.Lock()
_opened: Counter[str] = Counter()
_connections: "weakref.WeakSet[psycopg.Connection[Any]]" = weakref.WeakSet()
_pids: set[int] = set()
Place = tuple[str, int, str]  # address, port and name of a database
_of_django: "weakref.WeakKeyDictionary[psycopg.Connection[Any], Place]" = (
    weakref.WeakKeyDictionary()
)
_opened_by_django: Counter[Place] = Counter()


def note_connection(connection: "psycopg.Connection[Any]") -> None:
    """Count a session that has just been opened; a pool gives the same one out again."""
    with _lock:
        if connection in _connections:
            return
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


@dataclass(frozen=True, slots=True)
class Beside:
    """Sessions of Django's other connections (aliases, threads) to one database, at a moment."""

    opened: int
    pids: frozenset[int]


def beside(wrapper: BaseDatabaseWrapper) -> Beside:
    """Those beside a connection of Django's: what they write is in no transaction of its."""
    with _lock:
        place = _of_django.get(wrapper.connection) if wrapper.connection is not None else None
        others = [each for each, at in _of_django.items() if at == place and not each.closed]
        pids = {each.info.backend_pid for each in others if each is not wrapper.connection}
        return Beside(_opened_by_django[place] if place else 0, frozenset(pids))


def _note_django(connection: BaseDatabaseWrapper, **_: object) -> None:
    session = connection.connection
    if isinstance(session, psycopg.Connection) and session not in _connections:
        note_connection(session)
        info = session.info
        place = (info.hostaddr or info.host, info.port, info.dbname)
        with _lock:
            _of_django[session] = place
            _opened_by_django[place] += 1


connection_created.connect(_note_django, dispatch_uid="deploy_ops.own_sessions")
