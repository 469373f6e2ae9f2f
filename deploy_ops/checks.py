"""Django system checks: what can be told to be wrong before anything is run.

Only C011 asks the database, and so runs with `check --database default` and before `migrate`.
"""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as Caution
from django.db import Error as DatabaseFailure

from deploy_ops.backup.authenticity import host_keys
from deploy_ops.backup.storage import ALIAS
from deploy_ops.conf import PREFIX, conf, known_names
from deploy_ops.errors import ConfigurationError
from deploy_ops.flags.declaration import declared_flags
from deploy_ops.flags.overview import local_today
from deploy_ops.flags.store import flags_alias, read_rules
from deploy_ops.health.readiness import BUILT_IN, make_probes

PUBLIC_ROOTS = ("MEDIA_ROOT", "STATIC_ROOT")
FILE_SYSTEM = "django.core.files.storage.FileSystemStorage"
S3 = ("storages.backends.s3.", "storages.backends.s3boto3.")
HEALTH = "deploy_ops.health.middleware.HealthMiddleware"
FLAGS = "deploy_ops.flags.middleware.FlagsMiddleware"
CACHE = "django.middleware.cache.UpdateCacheMiddleware"


@register("deploy_ops")
def check_setting_names(**_options: Any) -> list[CheckMessage]:
    """C001: a DEPLOY_OPS_ setting that does not exist, most often a typing error."""
    known = known_names()
    unknown = [name for name in dir(settings) if name.startswith(PREFIX) and name not in known]
    return [
        Error(
            f"{name} is not a setting of deploy_ops, so it has no effect.",
            hint=_did_you_mean(name, known),
            id="deploy_ops.C001",
        )
        for name in unknown
    ]


@register("deploy_ops")
def check_backup_place(**_options: Any) -> list[CheckMessage]:
    """C002: backups below a directory whose files the web server hands out."""
    place = conf.backup_dir.resolve()
    return [
        Error(
            f"Backups are written to {place}, below {name}: anybody could fetch them.",
            hint="Set DEPLOY_OPS_BACKUP_DIR to a directory that no web server serves.",
            id="deploy_ops.C002",
        )
        for name in PUBLIC_ROOTS
        if (root := getattr(settings, name, None)) and place.is_relative_to(Path(root).resolve())
    ]


@register("deploy_ops")
def check_settings(**_options: Any) -> list[CheckMessage]:
    """C003: a DEPLOY_OPS_ setting of the wrong type or value."""
    return list(_unfit_settings())


@register("deploy_ops", deploy=True)
def check_key_file(**_options: Any) -> list[CheckMessage]:
    """C004: a key file that cannot be used, found now and not at night."""
    try:
        host_keys()
    except ConfigurationError as error:
        return [Error(str(error), id="deploy_ops.C004")]
    return []


@register("deploy_ops", deploy=True)
def check_programs(**_options: Any) -> list[CheckMessage]:
    """C005: DEPLOY_OPS_PG_BIN names a directory without pg_dump and pg_restore.

    Which major the server has only a connection can tell; `backup` checks that.
    """
    return [
        Caution(
            f"DEPLOY_OPS_PG_BIN[{major}] is {directory}, and {program} is not there.",
            hint=f"Name the directory of PostgreSQL {major}'s client programs.",
            id="deploy_ops.C005",
        )
        for major, directory in conf.pg_bin.items()
        for program in ("pg_dump", "pg_restore")
        if not Path(directory, program).is_file()
    ]


@register("deploy_ops", deploy=True)
def check_storage(**_options: Any) -> list[CheckMessage]:
    """C006: a storage for backups that lets others read them. C007: one that fills the memory."""
    given = settings.STORAGES.get(ALIAS)
    if given is None:
        return []
    backend, options = str(given.get("BACKEND", "")), given.get("OPTIONS", {})
    if backend == FILE_SYSTEM and options.get("file_permissions_mode", 0o644) & 0o077:
        return [
            Caution(
                f'STORAGES["{ALIAS}"] writes backups that other users of the host can read.',
                hint='"OPTIONS": {"file_permissions_mode": 0o600}',
                id="deploy_ops.C006",
            )
        ]
    if backend.startswith(S3) and not options.get("max_memory_size"):
        return [
            Caution(
                f'STORAGES["{ALIAS}"] reads whole files into memory when copies are compared.',
                hint='"OPTIONS": {"max_memory_size": 16 * 1024 * 1024}',
                id="deploy_ops.C007",
            )
        ]
    return []


@register("deploy_ops")
def check_health_middleware(**_options: Any) -> list[CheckMessage]:
    """C008: the middleware that answers polls stands behind others that get in their way."""
    if HEALTH not in settings.MIDDLEWARE or settings.MIDDLEWARE[0] == HEALTH:
        return []
    return [
        Caution(
            f"{settings.MIDDLEWARE[0]} comes before HealthMiddleware in MIDDLEWARE, so polls by IP "
            "address or plain http may get 400 or 301 instead of an answer.",
            hint=f'MIDDLEWARE = ["{HEALTH}", ...]',
            id="deploy_ops.C008",
        )
    ]


@register("deploy_ops")
def check_readiness_checks(**_options: Any) -> list[CheckMessage]:
    """C009: a readiness check that cannot be made, so that every poll would fail."""
    try:
        make_probes()
    except (AttributeError, ImportError, TypeError, ValueError, ConfigurationError) as error:
        return [
            Error(
                f"DEPLOY_OPS_READINESS_CHECKS cannot be used: {error}",
                hint=f"There are {', '.join(BUILT_IN)}, and paths of functions and classes.",
                id="deploy_ops.C009",
            )
        ]
    return []


@register("deploy_ops")
def check_overdue_flags(**_options: Any) -> list[CheckMessage]:
    """C010: a flag that was to be removed from the code by now."""
    today = local_today()
    return [
        Caution(
            f"The flag {name} was to be removed by {flag.remove_by}.",
            hint=f"{flag.owner or 'Its owner'} removes it from the code, or sets a later day.",
            id="deploy_ops.C010",
        )
        for name, flag in declared_flags().items()
        if flag.is_overdue(today)
    ]


@register(Tags.database)
def check_undeclared_flags(databases: Iterable[str] | None, **_options: Any) -> list[CheckMessage]:
    """C011: a row for a flag that no code can ask for any more."""
    alias = flags_alias()
    if alias not in (databases or ()):
        return []
    try:
        rows = read_rules(alias)
    except DatabaseFailure:  # before the first migration there is no table
        return []
    return [
        Caution(
            f"The database has rules for the flag {name}, which is not declared.",
            hint=f"python manage.py flags reset {name}",
            id="deploy_ops.C011",
        )
        for name in sorted(set(rows) - set(declared_flags()))
    ]


@register("deploy_ops")
def check_flags_before_the_cache(**_options: Any) -> list[CheckMessage]:
    """C013: pages are cached before flags have said for whom they are."""
    order = [name for name in settings.MIDDLEWARE if name in (FLAGS, CACHE)]
    if order != [FLAGS, CACHE]:
        return []
    return [
        Caution(
            "FlagsMiddleware comes before UpdateCacheMiddleware, so a page that a percentage "
            "decides about is cached without Vary: Cookie, and one visitor's goes to all.",
            hint=f'MIDDLEWARE = [..., "{CACHE}", ..., "{FLAGS}", ...]',
            id="deploy_ops.C013",
        )
    ]


@register("deploy_ops")
def check_flags_middleware(**_options: Any) -> list[CheckMessage]:
    """C012: flags without the middleware that reads them at the beginning of a request."""
    if not declared_flags() or FLAGS in settings.MIDDLEWARE:
        return []
    return [
        Caution(
            "FlagsMiddleware is not in MIDDLEWARE: one page may mix two states of a flag, with "
            "ATOMIC_REQUESTS a change may never be seen, and visitors without a login never "
            "belong to a percentage.",
            hint=f'MIDDLEWARE = [..., "{FLAGS}"]',
            id="deploy_ops.C012",
        )
    ]


def _unfit_settings() -> Iterator[CheckMessage]:
    for name in sorted(known_names()):
        try:
            getattr(conf, name.removeprefix(PREFIX).lower())
        except (ConfigurationError, ValueError, TypeError) as error:
            yield Error(f"{name} cannot be used: {error}", id="deploy_ops.C003")


def _did_you_mean(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(known))}."
