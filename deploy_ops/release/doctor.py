"""Whether what surrounds an application is set up: findings D001 to D010; nothing is changed."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.db import DatabaseError, connections

from deploy_ops.advice import manage
from deploy_ops.backup.restorable import check_restorable
from deploy_ops.backup.storage import ALIAS, remote_storage
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import DeployOpsError, ProgramError
from deploy_ops.migrate.verify import timeout_findings
from deploy_ops.redact import redact
from deploy_ops.release.predeploy import backup_findings, connection_findings, disk_findings
from deploy_ops.release.timers import timer_findings

CLOCKS_APART = timedelta(seconds=2)


def examine(alias: str) -> Iterator[CheckMessage]:
    """Say what is missing around this application, on this host and in this database.

    Nothing is made or changed. What cannot be looked at is a finding, and the rest is looked at.
    """
    told = set()
    looks = (_checks, _media, _copies, _persistent, _timers, _database, _backups)
    for look in looks:
        for finding in _guarded(look, alias):
            if finding.msg not in told:
                told.add(finding.msg)
                yield finding


def _guarded(look: Callable[[str], Iterator[CheckMessage]], alias: str) -> Iterator[CheckMessage]:
    try:
        yield from look(alias)
    except (DeployOpsError, DatabaseError) as error:
        yield Error(
            redact(str(error)),
            hint="What needs this was not checked. Once it is fixed:\n"
            + manage("doctor", alias=alias),
            id="deploy_ops.D001",
        )


def _checks(_alias: str) -> Iterator[CheckMessage]:
    found = checks.run_checks(tags=["deploy_ops"], include_deployment_checks=True)
    yield from (each for each in found if not each.is_silenced())


def _timers(_alias: str) -> Iterator[CheckMessage]:
    yield from timer_findings()


def _database(alias: str) -> Iterator[CheckMessage]:
    database_for(alias).identify()
    if connections[alias].vendor == "postgresql":
        yield from _postgresql(alias)
    yield from timeout_findings(database_for(alias).server_timeouts())
    yield from connection_findings(alias)


def _backups(alias: str) -> Iterator[CheckMessage]:
    yield from backup_findings(alias)
    yield from disk_findings(alias)
    yield from check_restorable(alias)


def _postgresql(alias: str) -> Iterator[CheckMessage]:
    # psycopg is optional.
    from deploy_ops.backup.methods.pg_dump.privileges import missing_to_read
    from deploy_ops.databases.postgresql.programs import find_program
    from deploy_ops.databases.postgresql.server import quoted_role, scalar, server_of

    with server_of(alias).connect(application_name=f"deploy_ops/doctor/{os.getpid()}") as session:
        for name in ("pg_dump", "pg_restore", "psql"):
            try:
                find_program(name, session.info.server_version // 10000)
            except ProgramError as error:
                yield Error(str(error), id="deploy_ops.D002")
        for missing in missing_to_read(session):
            yield Error(missing, id="deploy_ops.D003")
        may = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
        if not scalar(session, may):
            role = quoted_role(session)
            yield checks.Warning(
                f"Role {role} may not create databases, so a restore works only with --in-place, "
                "and no backup can be verified by restoring it.",
                hint=f"As a superuser, run:\n    ALTER ROLE {role} CREATEDB;",
                id="deploy_ops.D004",
            )
        yield from _clock(scalar(session, "SELECT clock_timestamp()"))


def _clock(of_server: datetime) -> Iterator[CheckMessage]:
    """Compare the moment that the server has just told with the one here."""
    apart = abs(datetime.now(UTC) - of_server)
    if apart > CLOCKS_APART:
        yield checks.Warning(
            f"The clocks of this host and of the database server are {apart.total_seconds():.0f} s "
            "apart: ages of backups and of processes are compared across them.",
            hint="See which one is wrong, on both:\n    timedatectl",
            id="deploy_ops.D005",
        )


def _media(_alias: str) -> Iterator[CheckMessage]:
    root = str(settings.MEDIA_ROOT)
    if root and Path(root).exists() and not os.access(root, os.R_OK | os.X_OK):
        yield Error(
            f"MEDIA_ROOT {root} cannot be read by this user: backups with --media would fail.",
            hint="Run the commands as the user of the application, or let this one read it.",
            id="deploy_ops.D007",
        )


def _copies(_alias: str) -> Iterator[CheckMessage]:
    """Whether the storage of copies answers, and whether what goes there is encrypted."""
    try:
        storage = remote_storage()
        if storage is None:
            return
        storage.ids()
    except DeployOpsError as error:
        yield Error(
            str(error),
            hint=f'See its address and credentials in STORAGES["{ALIAS}"].',
            id="deploy_ops.D008",
        )
    if conf.backup_key_file is None:
        yield checks.Warning(
            f'Backups are copied to STORAGES["{ALIAS}"], and they are not encrypted: whoever reads '
            "the storage reads the database.",
            hint="Set DEPLOY_OPS_BACKUP_KEY_FILE: docs/howto/encrypt-backups.md.",
            id="deploy_ops.D008",
        )


def _persistent(alias: str) -> Iterator[CheckMessage]:
    given = connections[alias].settings_dict
    # None keeps them for ever.
    if connections[alias].vendor == "sqlite" or given["CONN_MAX_AGE"] == 0:
        return
    if not given["CONN_HEALTH_CHECKS"]:
        yield checks.Warning(
            f"Database '{alias}' keeps its connections (CONN_MAX_AGE) and does not check them: "
            "after a restore or a restart of the server each fails one request, for a second or so "
            "one after the other.",
            hint='Set "CONN_HEALTH_CHECKS": True beside CONN_MAX_AGE.',
            id="deploy_ops.D009",
        )
