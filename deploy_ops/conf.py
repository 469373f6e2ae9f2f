"""The only reader of settings: DEPLOY_OPS_<NAME>, read on access so that tests can override."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, get_args

from django.conf import settings

from deploy_ops.errors import ConfigurationError, NoDirectory
from deploy_ops.redact import Secret
from deploy_ops.webhooks import find_fault, find_no_address, is_mail

PREFIX = "DEPLOY_OPS_"


class Conf:  # pylint: disable=too-many-public-methods  # as many as there are settings
    """Typed settings with their defaults; each property documents one DEPLOY_OPS_ setting."""

    @property
    def state_dir(self) -> Path:
        """DEPLOY_OPS_STATE_DIR: journals, locks and history; default `var/deploy_ops` in BASE_DIR.

        As each directory here it raises NoDirectory where it is relative, or nothing says where.
        """
        return _path("STATE_DIR", lambda: _base_dir() / "var" / "deploy_ops")

    @property
    def archive(self) -> Mapping[str, Any] | None:
        """DEPLOY_OPS_ARCHIVE: the server's archive of base backups and WAL; none."""
        given: Mapping[str, Any] | None = _read("ARCHIVE", Mapping | None, None)
        return given

    @property
    def backfill_limits(self) -> Mapping[str, float | None]:
        """DEPLOY_OPS_BACKFILL_LIMITS: when a backfill waits; None as a value: never for that."""
        limits: dict[str, float | None] = {
            "rows_per_second": None,
            "replication_lag_seconds": 10,
            "archive_queue_files": 64,
            "transaction_seconds": 300,
            "autovacuum": True,
            "patience_seconds": 300,
        }
        given: Mapping[str, float | None] = _read("BACKFILL_LIMITS", dict, {})
        if unknown := set(given) - set(limits):
            raise ConfigurationError(
                f"DEPLOY_OPS_BACKFILL_LIMITS has unknown keys: {', '.join(sorted(unknown))}. "
                f"It knows {', '.join(limits)}. Nothing was changed."
            )
        if any(
            not isinstance(each, int | float | None) or (each or 0) < 0 for each in given.values()
        ):
            raise ConfigurationError(
                "DEPLOY_OPS_BACKFILL_LIMITS wants numbers from 0, or None. Nothing was changed."
            )
        return limits | dict(given)

    @property
    def backup_dir(self) -> Path:
        """DEPLOY_OPS_BACKUP_DIR: where backups are written; default `backups` in STATE_DIR."""
        return _path("BACKUP_DIR", lambda: self.state_dir / "backups")

    @property
    def backup_retention(self) -> Mapping[str, int]:
        """DEPLOY_OPS_BACKUP_RETENTION: how many `prune` keeps by last, daily, weekly, monthly."""
        keep = {"last": 3, "daily": 7, "weekly": 4, "monthly": 6}
        given = _read("BACKUP_RETENTION", dict, keep)
        if unknown := set(given) - set(keep):
            raise ConfigurationError(
                f"DEPLOY_OPS_BACKUP_RETENTION has unknown keys: {', '.join(sorted(unknown))}. "
                f"It knows {', '.join(keep)}. Nothing was changed."
            )
        if any(not isinstance(count, int) or count < 0 for count in given.values()):
            raise ConfigurationError(
                "DEPLOY_OPS_BACKUP_RETENTION wants whole numbers from 0. Nothing was changed."
            )
        return {name: int(given.get(name, 0)) for name in keep}

    @property
    def backup_key_file(self) -> Path | None:
        """DEPLOY_OPS_BACKUP_KEY_FILE: keys that encrypt and authenticate backups; default none."""
        path = _read("BACKUP_KEY_FILE", str | Path | None, None)
        return Path(path) if path else None

    @property
    def backup_signing_key_file(self) -> Path | None:
        """DEPLOY_OPS_BACKUP_SIGNING_KEY_FILE: the Ed25519 key that signs backups; default none."""
        path = _read("BACKUP_SIGNING_KEY_FILE", str | Path | None, None)
        return Path(path) if path else None

    @property
    def backup_verify_key_file(self) -> Path | None:
        """DEPLOY_OPS_BACKUP_VERIFY_KEY_FILE: public keys that check signatures; default none."""
        path = _read("BACKUP_VERIFY_KEY_FILE", str | Path | None, None)
        return Path(path) if path else None

    @property
    def ci_status_file(self) -> Path | None:
        """DEPLOY_OPS_CI_STATUS_FILE: what CI says of the commit that is released; default none."""
        path = _read("CI_STATUS_FILE", str | Path | None, None)
        return Path(path) if path else None

    @property
    def contract_after(self) -> timedelta:
        """DEPLOY_OPS_CONTRACT_AFTER: for how long nobody may have seen an older release; 2 h."""
        after = _duration("CONTRACT_AFTER", timedelta(hours=2))
        if after < timedelta(minutes=2):
            raise ConfigurationError(
                "DEPLOY_OPS_CONTRACT_AFTER must be two minutes or more: a process without a "
                "connection says that it is alive once a minute. Nothing was changed."
            )
        return after

    @property
    def direct_database_url(self) -> Secret | None:
        """DEPLOY_OPS_DIRECT_DATABASE_URL: connection for alias `default`, past any pooler."""
        url = _read("DIRECT_DATABASE_URL", str | None, None)
        return Secret(url) if url else None

    @property
    def flags(self) -> Mapping[str, Any]:
        """DEPLOY_OPS_FLAGS: {name: Flag}, the feature flags that exist; default none."""
        given: Mapping[str, Any] = _read("FLAGS", Mapping, {})
        return given

    @property
    def flags_attributes(self) -> Mapping[str, str]:
        """DEPLOY_OPS_FLAGS_ATTRIBUTES: {name: path of a function}, what rules may ask; none."""
        given: Mapping[str, str] = _read("FLAGS_ATTRIBUTES", Mapping, {})
        return given

    @property
    def flags_poll_seconds(self) -> float:
        """DEPLOY_OPS_FLAGS_POLL_SECONDS: how often a process looks for changed flags; 1."""
        return float(_read("FLAGS_POLL_SECONDS", float | int, 1.0))

    @property
    def maintenance_database(self) -> str:
        """DEPLOY_OPS_MAINTENANCE_DATABASE: holds the deploy lock; default `postgres`."""
        return str(_read("MAINTENANCE_DATABASE", str, "postgres"))

    @property
    def metrics_allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """DEPLOY_OPS_METRICS_ALLOWED_NETWORKS: who may read /metrics directly; default nobody."""
        given = _read("METRICS_ALLOWED_NETWORKS", list | tuple, ())
        try:
            return tuple(ip_network(network) for network in given)
        except ValueError as error:
            raise ConfigurationError(
                "DEPLOY_OPS_METRICS_ALLOWED_NETWORKS wants networks such as 10.20.0.0/16: "
                f"{error}. Nothing was changed."
            ) from None

    @property
    def metrics_path(self) -> str:
        """DEPLOY_OPS_METRICS_PATH: what Prometheus reads, without a last slash; `/metrics`."""
        return _url_path("METRICS_PATH", "/metrics")

    @property
    def metrics_token_file(self) -> Path | None:
        """DEPLOY_OPS_METRICS_TOKEN_FILE: the bearer token that may read /metrics; default none."""
        path = _read("METRICS_TOKEN_FILE", str | Path | None, None)
        return Path(path) if path else None

    @property
    def notify(self) -> tuple[str, ...]:
        """DEPLOY_OPS_NOTIFY: webhooks and mailto: addresses that are told of events; none."""
        given = tuple(_read("NOTIFY", list | tuple, ()))
        webhooks = [each for each in given if not is_mail(each)]
        secret = self.notify_secret_file if webhooks else None
        names = ("DEPLOY_OPS_NOTIFY", "DEPLOY_OPS_NOTIFY_SECRET_FILE")
        if fault := find_fault(names, webhooks, secret) or find_no_address(names[0], given):
            raise ConfigurationError(f"{fault}. Nothing was changed.")
        return given

    @property
    def notify_secret_file(self) -> Path | None:
        """DEPLOY_OPS_NOTIFY_SECRET_FILE: the secret that signs what webhooks are told; none."""
        path = _read("NOTIFY_SECRET_FILE", str | Path | None, None)
        return Path(path) if path else None

    @property
    def other_programs(self) -> tuple[str, ...]:
        """DEPLOY_OPS_OTHER_PROGRAMS: beginnings of session names that are no release; none."""
        given = _read("OTHER_PROGRAMS", list | tuple, ())
        if not all(isinstance(name, str) and name.strip() for name in given):
            raise ConfigurationError(
                "DEPLOY_OPS_OTHER_PROGRAMS wants names such as metabase, and no empty one, with "
                "which the name of every session begins. Nothing was changed."
            )
        return tuple(given)

    @property
    def pgbouncer_url(self) -> Secret | None:
        """DEPLOY_OPS_PGBOUNCER_URL: PgBouncer's admin console, to pause it for a swap; none."""
        url = _read("PGBOUNCER_URL", str | None, None)
        return Secret(url) if url else None

    @property
    def pg_bin(self) -> Mapping[int, str]:
        """DEPLOY_OPS_PG_BIN: {major: directory} of PostgreSQL's client programs."""
        given = _read("PG_BIN", dict, {})
        return {int(major): str(directory) for major, directory in given.items()}

    @property
    def readiness_checks(self) -> Sequence[Any]:
        """DEPLOY_OPS_READINESS_CHECKS: what has to pass before an instance is ready."""
        default = ["database", "migrations", "cache"]
        checks: Sequence[Any] = _read("READINESS_CHECKS", list | tuple, default)
        return checks

    @property
    def readiness_databases(self) -> tuple[str, ...]:
        """DEPLOY_OPS_READINESS_DATABASES: aliases that have to answer, migrated; default all."""
        given = _read("READINESS_DATABASES", list | tuple, tuple(settings.DATABASES))
        if unknown := [alias for alias in given if alias not in settings.DATABASES]:
            raise ConfigurationError(
                f"DEPLOY_OPS_READINESS_DATABASES names {', '.join(map(repr, unknown))}, which "
                "DATABASES does not have. Nothing was changed."
            )
        return tuple(given)

    @property
    def smoke_tests(self) -> Sequence[str]:
        """DEPLOY_OPS_SMOKE_TESTS: what `smoke_test` does besides asking who answers; nothing."""
        tests: Sequence[str] = _read("SMOKE_TESTS", list | tuple, [])
        return tests

    @property
    def drain_file(self) -> Path:
        """DEPLOY_OPS_DRAIN_FILE: while it is there, the instance says that it is not ready."""
        return _path("DRAIN_FILE", lambda: self.state_dir / "drain")

    @property
    def clone_limit(self) -> float:
        """DEPLOY_OPS_CLONE_LIMIT: how many seconds a clone as a safety point may take; 5."""
        seconds = float(_read("CLONE_LIMIT", float | int, 5))
        if not 0 < seconds < 3600:
            raise ConfigurationError(
                "DEPLOY_OPS_CLONE_LIMIT must be a number of seconds between 0 and 3600: nobody can "
                "connect to the database while it is cloned. Nothing was changed."
            )
        return seconds

    @property
    def hold_file(self) -> Path | None:
        """DEPLOY_OPS_HOLD_FILE: by its lock a restore holds requests while it swaps; none."""
        path = _read("HOLD_FILE", str | Path | None, None)
        return Path(path).absolute() if path else None

    @property
    def hold_seconds(self) -> float:
        """DEPLOY_OPS_HOLD_SECONDS: how long a request is held at most; 20."""
        seconds = float(_read("HOLD_SECONDS", float | int, 20))
        if seconds < 1:
            raise ConfigurationError(
                "DEPLOY_OPS_HOLD_SECONDS must be 1 or more: half of it is for requests in flight "
                "to end, and half for the swap. Nothing was changed."
            )
        return seconds

    @property
    def health_path(self) -> str:
        """DEPLOY_OPS_HEALTH_PATH: where the polls are, without a last slash; `/health`."""
        return _url_path("HEALTH_PATH", "/health")

    @property
    def journal_retention_days(self) -> int:
        """DEPLOY_OPS_JOURNAL_RETENTION_DAYS: when journals of ended runs are removed; 90."""
        return int(_read("JOURNAL_RETENTION_DAYS", int, 90))

    @property
    def makemigrations(self) -> bool:
        """DEPLOY_OPS_MAKEMIGRATIONS: makemigrations writes what make_two_phase does; False."""
        return bool(_read("MAKEMIGRATIONS", bool, False))

    @property
    def max_blocking(self) -> timedelta:
        """DEPLOY_OPS_MAX_BLOCKING: how long a rehearsed migration may make others wait; 0.5 s."""
        return _duration("MAX_BLOCKING", timedelta(milliseconds=500))

    @property
    def migrate_without(self) -> tuple[str, ...]:
        """DEPLOY_OPS_MIGRATE_WITHOUT: modules of `migrate` that safe_migrate leaves out; none."""
        return tuple(_read("MIGRATE_WITHOUT", list | tuple, ()))

    @property
    def two_phase(self) -> bool:
        """DEPLOY_OPS_TWO_PHASE: what old code needs stays until the contract phase; False."""
        return bool(_read("TWO_PHASE", bool, False))


def _duration(name: str, default: timedelta) -> timedelta:
    given = _read(name, timedelta | float | int, default)
    try:
        return given if isinstance(given, timedelta) else timedelta(seconds=given)
    except (OverflowError, ValueError):
        raise ConfigurationError(
            f"{PREFIX}{name} is {given}, which is no number of seconds. Nothing was changed."
        ) from None


def _read(name: str, kind: Any, default: Any) -> Any:
    value = getattr(settings, PREFIX + name, default)
    if not isinstance(value, kind):
        raise ConfigurationError(
            f"{PREFIX}{name} must be {_spoken(kind)}, not {type(value).__name__}. "
            "Nothing was changed."
        )
    return value


def _path(name: str, default: Callable[[], Path]) -> Path:
    if not hasattr(settings, PREFIX + name):
        return default()
    return _absolute(PREFIX + name, _read(name, str | os.PathLike, ""))


def _base_dir() -> Path:
    base = getattr(settings, "BASE_DIR", None)
    if not base or not isinstance(base, str | os.PathLike):
        fact = (
            "DEPLOY_OPS_STATE_DIR is not set, and the settings have no BASE_DIR for its default, "
            "so where to write is not known"
        )
        raise NoDirectory(
            f"{fact}. Nothing was changed. Name a directory that stays:\n"
            '    DEPLOY_OPS_STATE_DIR = "/var/lib/deploy_ops"',
            fact=fact,
        )
    return _absolute("BASE_DIR", base)


def _absolute(name: str, given: str | os.PathLike[str]) -> Path:
    path = Path(given)
    if not path.is_absolute():
        fact = (
            f"{name} is {str(given)!r}, a relative path: a command that is started in another "
            "directory would write and look there"
        )
        raise NoDirectory(
            f"{fact}. Nothing was changed. Name it from the root on, such as:\n"
            f"    {path.absolute()}",
            fact=fact,
        )
    return path


def _url_path(name: str, default: str) -> str:
    path: str = _read(name, str, default)
    if not re.fullmatch(r"(/[\w.~-]+)+/?", path, re.ASCII):
        raise ConfigurationError(
            f"{PREFIX}{name} is {path!r}; it wants a path such as {default}. Nothing was changed."
        )
    return path.removesuffix("/")


def _spoken(kind: Any) -> str:
    """A type, or a union of types, as people write it: `str or Path`."""
    return " or ".join(each.__name__ for each in get_args(kind) or (kind,)).replace("Type", "")


def known_names() -> set[str]:
    """Names of all settings that exist."""
    return {
        PREFIX + name.upper() for name, kind in vars(Conf).items() if isinstance(kind, property)
    }


conf = Conf()
