"""The checks that an instance has to pass before a load balancer should send it requests."""

import asyncio
import inspect
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import timedelta
from functools import cache, partial
from itertools import count
from typing import Any

from django.apps import apps
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DEFAULT_DB_ALIAS, router
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model
from django.utils.module_loading import import_string

from deploy_ops.conf import conf
from deploy_ops.errors import HealthCheckFailed
from deploy_ops.health.connections import connection_to
from deploy_ops.health.probe import DEADLINE, KEEP, NotKnown, Probe
from deploy_ops.health.schema_ahead import missing_columns
from deploy_ops.migrate.other_migrate import what_is_other

Run = Callable[[], object]
Migration = tuple[tuple[str, str], list[tuple[str, str]]]  # its key, and those that it replaces
# Migrations change with a deploy; writing to a storage may cost money.
KEEP_LONGER = {"migrations": timedelta(seconds=10), "storage": timedelta(seconds=30)}
BLOCK_BYTES = 4096  # an empty file would fit on a full disk
OF = ":"  # stands in no name of a function or class
APPLIED = "SELECT app, name FROM django_migrations"


def ping_database(alias: str) -> None:
    """Ask the database for one row on the probe's own connection."""
    connection_to(alias, "ping").ping()


def require_migrations(alias: str) -> str | NotKnown:
    """Raise HealthCheckFailed if a migration of this code is not applied, or if newer ones have
    taken away what it needs; say so where they have not, "" where there are none.

    A database that the routers let no app migrate into need not even have the table of migrations.
    Only the schema that the connection finds is looked at: NotKnown where there may be others.
    """
    expected = _expected(alias)
    if not expected:
        return ""
    said, other = _look_at_migrations(alias, expected), what_is_other(alias)
    return NotKnown(other) if other else said


def _look_at_migrations(alias: str, expected: Iterable[Migration]) -> str:
    applied = _applied(alias)
    if missing := _pending(expected, applied):
        raise HealthCheckFailed(f"{_listed(missing)} not applied")
    known = {key for own, replaces in _migrations_of_the_code() for key in (own, *replaces)}
    newer = sorted(".".join(key) for key in applied - known)
    if not newer:
        return ""
    of_other_code = f"{_listed(newer)} applied, which this code does not have"
    if gone := missing_columns(alias, {app for (app, _), _ in _migrations_of_the_code()}):
        raise HealthCheckFailed(f"{of_other_code}, and {_listed(gone)} is missing, which it uses")
    return f"{of_other_code}; all tables and columns that it uses are there"


def pending_migrations(alias: str) -> list[str]:
    """Name the migrations of this code that the database lacks, on the probe's own connection."""
    expected = _expected(alias)
    return _pending(expected, _applied(alias)) if expected else []


def _applied(alias: str) -> set[tuple[str, str]]:
    return set(connection_to(alias, "migrations").rows(APPLIED))


def _expected(alias: str) -> list[Migration]:
    """Those of the apps of which the routers let a model into the database.

    `migrate` records all migrations of such an app, whatever their operations do there.
    """
    migrations = _migrations_of_the_code()
    of_apps: dict[str, list[type[Model]]] = {label: [] for (label, _), _ in migrations}
    for model in apps.get_models():
        of_apps.get(model._meta.app_label, []).append(model)
    here = {label for label, models in of_apps.items() if _is_migrated_to(alias, label, models)}
    return [(key, replaces) for key, replaces in migrations if key[0] in here]


def _is_migrated_to(alias: str, label: str, models: Sequence[type[Model]]) -> bool:
    if not models:
        return router.allow_migrate(alias, label)
    return any(router.allow_migrate_model(alias, model) for model in models)


def _pending(expected: Iterable[Migration], applied: Set[tuple[str, str]]) -> list[str]:
    return [
        ".".join(key)
        for key, replaces in expected
        if key not in applied and not (replaces and applied >= set(replaces))
    ]


def _listed(names: Sequence[str]) -> str:
    return f"{names[0]} and {len(names) - 1} more" if names[1:] else names[0]


def require_cache() -> None:
    """Raise unless the default cache gives back what it was given."""
    store, token = caches[DEFAULT_CACHE_ALIAS], secrets.token_hex(8)
    if isinstance(store, DummyCache):
        return
    key = f"deploy_ops.health.{token}"
    store.set(key, token, timeout=10)
    if store.get(key) != token:
        raise HealthCheckFailed("the cache does not keep what it is given")
    store.delete(key)


def require_storage() -> None:
    """Raise unless the default storage takes a file; it is removed again."""
    name = f".deploy_ops-health-{secrets.token_hex(8)}"
    saved = default_storage.save(name, ContentFile(bytes(BLOCK_BYTES)))
    default_storage.delete(saved)


OF_EACH_DATABASE: Mapping[str, Callable[[str], object]] = {
    "database": ping_database,
    "migrations": require_migrations,
}
OF_THE_INSTANCE: Mapping[str, Run] = {"cache": require_cache, "storage": require_storage}
BUILT_IN = (*OF_EACH_DATABASE, *OF_THE_INSTANCE)


DATABASE = Probe("database", partial(ping_database, DEFAULT_DB_ALIAS))
_made: dict[str, Mapping[str, Probe]] = {}


def readiness_probes() -> Mapping[str, Probe]:
    """A probe for each of DEPLOY_OPS_READINESS_CHECKS, by name, the same for all requests.

    Raises ImportError or TypeError if a check cannot be made.
    """
    aliases = conf.readiness_databases
    key = repr((conf.readiness_checks, aliases))
    if key not in _made:
        probes = make_probes(aliases)
        if "database" in conf.readiness_checks and DEFAULT_DB_ALIAS in aliases:
            probes["database"] = DATABASE
        # Two threads may both make them; setdefault is atomic, and a probe not kept never ran.
        _made.setdefault(key, probes)
    return _made[key]


def make_probes(
    aliases: Iterable[str], deadline: timedelta = DEADLINE, *, is_watched: bool = True
) -> dict[str, Probe]:
    """Build new probes, none of which lets its caller wait longer than the deadline.

    They run side by side, so that several databases that hang take no longer than one.
    """
    probes: dict[str, Probe] = {}
    # The built-in ones first, so that theirs are the plain names, and mean what they say.
    for item in sorted(conf.readiness_checks, key=_is_foreign):
        keep, own = KEEP, None
        if _is_foreign(item):
            name, run, own = _foreign(item)
            runs = [(_unique(name, probes), run)]
        else:
            runs, keep = list(_built_in(item, aliases)), KEEP_LONGER.get(item, KEEP)
        limit = min(own or deadline, deadline)
        for name, run in runs:
            probes[name] = Probe(name, run, deadline=limit, keep=keep, is_watched=is_watched)
    return probes


def public_name(name: str) -> str:
    """What anybody may read of the name of a probe: which check it is, not of which database."""
    return name.partition(OF)[0]


def _built_in(item: str, aliases: Iterable[str]) -> Iterator[tuple[str, Run]]:
    if item in OF_THE_INSTANCE:
        yield item, OF_THE_INSTANCE[item]
        return
    for alias in aliases:
        name = item if alias == DEFAULT_DB_ALIAS else f"{item}{OF}{alias}"
        yield name, partial(OF_EACH_DATABASE[item], alias)


def _unique(name: str, taken: Iterable[str]) -> str:
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(each for each in names if each not in taken)


def _is_foreign(item: Any) -> bool:
    return not (isinstance(item, str) and item in BUILT_IN)


def _foreign(item: Any) -> tuple[str, Run, timedelta | None]:
    """A function, or a check class as django-health-check has them: built, then `run()`."""
    made, options = item if isinstance(item, tuple | list) else (item, {})
    made = import_string(made) if isinstance(made, str) else made
    name = made.__name__.lower()
    if not inspect.isclass(made):
        return name, partial(_call, partial(made, **options)), None
    check: Any = made(**options)
    return name, partial(_call, check.run), getattr(check, "timeout", None)


def _call(run: Run) -> None:
    """Run it to its end, in an event loop of this thread if it wants one."""
    result = run()
    if inspect.iscoroutine(result):
        asyncio.run(result)


@cache
def _migrations_of_the_code() -> list[Migration]:
    """All of them; read once, since the code of a process does not change."""
    nodes = MigrationLoader(None).graph.nodes
    return [(key, list(nodes[key].replaces)) for key in sorted(nodes)]
