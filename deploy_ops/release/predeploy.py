"""The checklist before a release, as findings R001 to R017; nothing is changed by looking."""

import shutil
import socket
import ssl
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Info
from django.core.checks import Warning as Caution
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from deploy_ops.advice import manage
from deploy_ops.backup.catalog import list_entries
from deploy_ops.backup.disk_space import expected_bytes
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import DeployOpsError, OtherMigrate, PlanRefused
from deploy_ops.flags import flag_overviews
from deploy_ops.migrate.procedure import plan_of
from deploy_ops.migrate.run import Request
from deploy_ops.release.ci_status import CiStatus, ci_findings, read_ci_status
from deploy_ops.release.monitoring import keep_figures, look_at_metrics
from deploy_ops.release.placeholders import placeholder_findings
from deploy_ops.release.requirements import pinned
from deploy_ops.release.foresee import way_back_findings
from deploy_ops.release.tree import look_at_tree, tree_findings
from deploy_ops.version import given_commit

BACKUP_AGE = timedelta(hours=26)
CERTIFICATE_LEFT = timedelta(days=14)
CONNECT_SECONDS = 5.0
# What no program can see: a person says it, and the audit keeps who did.
CONFIRMABLE = ("tests", "review", "stakeholders")
FREE_CONNECTIONS = """
    SELECT current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - count(*) FILTER (WHERE backend_type = 'client backend'),
           count(*) FILTER (WHERE datname = current_database()
                            AND backend_type = 'client backend' AND pid <> pg_backend_pid())
    FROM pg_stat_activity
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What whoever releases has said: `url` is where users reach it, `metrics` where the instance
    that serves has its metrics, `confirmed` what a person has seen, of CONFIRMABLE."""

    alias: str
    url: str | None = None
    metrics: str | None = None
    confirmed: Collection[str] = ()
    ci_status: Path | None = None


def look_before(asked: Asked) -> Iterator[CheckMessage]:
    """Say what speaks against a release of this code, now, into this database.

    What the metrics have counted is kept, so that `postdeploy` can compare.
    """
    tree = look_at_tree()
    yield from _migrations(asked.alias)
    yield from backup_findings(asked.alias)
    yield from disk_findings(asked.alias)
    yield from connection_findings(asked.alias)
    yield from _settings()
    yield from placeholder_findings()
    yield from requirements_findings()
    yield from tree_findings(tree)
    yield from _flags()
    yield from certificate_findings(asked.url)
    yield from _metrics(asked.metrics)
    yield from _confirmations(asked, tree.commit if tree else given_commit())


def _migrations(alias: str) -> Iterator[CheckMessage]:
    # Slow to load, as in safe_migrate.
    from deploy_ops.migrate.lint.refuse import refuse_dangers

    request = Request(alias=alias)
    try:
        todo = plan_of(request)
        refuse_dangers(request, todo)
    except OtherMigrate as error:
        yield Error(str(error), id="deploy_ops.R001")
        return
    except PlanRefused as error:
        yield Error(
            str(error),
            hint=f"See what to write instead:\n{manage('lint_migrations', alias=alias)}",
            id="deploy_ops.R001",
        )
        return
    names = ", ".join(f"{each.app_label}.{each.name}" for each, _ in todo.migrations)
    plan = manage("safe_migrate", "--plan", alias=alias)
    yield Info(
        f"To be applied: {names or 'nothing'}.", hint=f"In full:\n{plan}", id="deploy_ops.R001"
    )
    yield from way_back_findings(alias, todo)


def backup_findings(alias: str) -> Iterator[CheckMessage]:
    """R002: no backup that is fresh and verified."""
    if fault := _fault_of_backups(alias):
        yield Caution(
            f"{fault} safe_migrate takes one where it changes something; code that damages data "
            "needs one too.",
            hint=f"Take one:\n{manage('backup', alias=alias)}",
            id="deploy_ops.R002",
        )


def _fault_of_backups(alias: str) -> str:
    """What the newest backup lacks, "" if it is fresh and verified."""
    identity = database_for(alias).identify()
    backups = [entry.backup for entry in list_entries() if entry.backup]
    ours = [each for each in backups if each.belongs_to(identity)]
    if not ours:
        return "There is no backup of this database."
    newest = ours[-1]
    age = datetime.now(UTC) - newest.created_at
    name = f"The newest backup of this database, {newest.id},"
    faults = []
    if age > BACKUP_AGE:
        hours = timedelta(hours=1)
        faults.append(f"is not fresh: it is {age // hours} h old, of {BACKUP_AGE // hours} at most")
    if newest.failure:
        faults.append(f"is not verified: {newest.failure}")
    elif not newest.verdict.is_usable:
        faults.append(f"cannot be used: {newest.verdict.reason}")
    return f"{name} {' and '.join(faults)}." if faults else ""


def disk_findings(alias: str) -> Iterator[CheckMessage]:
    """R003: the disk has less than the next backup takes."""
    directory = conf.backup_dir
    while not directory.exists():
        directory = directory.parent
    needed = expected_bytes(database_for(alias).identify())
    free = shutil.disk_usage(directory).free
    if free < needed:
        yield Error(
            f"{free / 1e6:.0f} MB are free where backups are written ({directory}), and the next "
            f"one takes about {needed / 1e6:.0f} MB: safe_migrate would not begin.",
            hint="Free disk space, for example by deleting backups that need not be kept:\n"
            f"{manage('backups', 'prune', '--delete', alias=alias)}",
            id="deploy_ops.R003",
        )


def connection_findings(alias: str) -> Iterator[CheckMessage]:
    """R004: while two colours run, each has its connections."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(FREE_CONNECTIONS)
        free, used = cursor.fetchone()
    if free < used:
        yield Error(
            f"The server has {free} connections left, and this application uses {used}: while two "
            "releases run, it needs about twice as many.",
            hint="Raise max_connections, or put a pooler in between.",
            id="deploy_ops.R004",
        )


def _settings() -> Iterator[CheckMessage]:
    if settings.DEBUG:
        yield Error(
            "DEBUG is on: errors show settings and code to everybody.",
            hint="DEBUG = False in the settings of production.",
            id="deploy_ops.R005",
        )
    try:
        found = checks.run_checks(include_deployment_checks=True)
    except Exception as error:  # pylint: disable=broad-exception-caught  # any code of the project
        yield Error(
            f"The checks of Django cannot be run: {type(error).__name__}: {error}. Most often "
            "something that every request needs cannot be imported, such as the URLs.",
            hint=f"See where:\n{manage('check', '--deploy', alias=DEFAULT_DB_ALIAS)}",
            id="deploy_ops.R010",
        )
        return
    yield from (each for each in found if each.level >= checks.WARNING and not each.is_silenced())


def requirements_findings() -> Iterator[CheckMessage]:
    """R006: what is installed here is not what requirements.txt pins."""
    base = getattr(settings, "BASE_DIR", None)
    for name, wanted in pinned(Path(base) / "requirements.txt") if base else ():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        if found != wanted:
            yield Error(
                f"requirements.txt pins {name} {wanted}; here it is {found}. What was tested is "
                "not what runs.",
                hint="Install it:\n    pip install --require-hashes -r requirements.txt",
                id="deploy_ops.R006",
            )


def _flags() -> Iterator[CheckMessage]:
    try:
        stale = [each.name for each in flag_overviews() if each.is_stale]
    except (DatabaseError, DeployOpsError):
        return  # before the first migration there is no table: R001 names what is to be applied
    if stale:
        yield Caution(
            f"Flags that nobody has removed: {', '.join(stale)}.",
            hint="Remove them from the code and DEPLOY_OPS_FLAGS, or set a later remove_by.",
            id="deploy_ops.R007",
        )


def certificate_findings(url: str | None) -> Iterator[CheckMessage]:
    """R008: what users get from `url` is no valid certificate, or soon will be none."""
    parts = urlsplit(url or "")
    if parts.scheme != "https" or not parts.hostname:
        return
    try:
        left = _time_left(parts.hostname, parts.port or 443)
    except ssl.SSLError as error:
        yield Error(
            f"{parts.netloc} has no valid certificate: {error}.",
            hint="See what nginx serves, and renew it:\n    sudo certbot renew",
            id="deploy_ops.R008",
        )
        return
    except (OSError, ValueError) as error:
        yield Error(
            f"{parts.netloc} does not answer, so its certificate was not checked: {error}.",
            hint="See whether nginx runs, and where the name leads to:\n    sudo nginx -t",
            id="deploy_ops.R008",
        )
        return
    if left < CERTIFICATE_LEFT:
        yield Caution(
            f"The certificate of {parts.netloc} expires in {left.days} days.",
            hint="Renew it:\n    sudo certbot renew",
            id="deploy_ops.R008",
        )


def _time_left(host: str, port: int) -> timedelta:
    with socket.create_connection((host, port), CONNECT_SECONDS) as plain:
        with ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secure:
            certificate = secure.getpeercert() or {}
    ends = ssl.cert_time_to_seconds(str(certificate.get("notAfter")))
    return datetime.fromtimestamp(ends, UTC) - datetime.now(UTC)


def _metrics(url: str | None) -> Iterator[CheckMessage]:
    page, findings = look_at_metrics(url)
    if page:
        keep_figures(page)
    yield from findings


def _confirmations(asked: Asked, commit: str | None) -> Iterator[CheckMessage]:
    path = asked.ci_status or conf.ci_status_file
    status = read_ci_status(path, commit) if path else CiStatus({})
    yield from ci_findings(status, asked.confirmed, asked.alias)
    seen = {*asked.confirmed, *status.shown}
    if missing := [each for each in CONFIRMABLE if each not in seen]:
        yield Info(
            f"Nobody has confirmed here: {', '.join(missing)}.",
            hint=f"predeploy --confirm {','.join(missing)} keeps it in the audit, with your name.",
            id="deploy_ops.R009",
        )
