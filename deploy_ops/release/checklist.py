"""The checklist of a way back, as findings R021 to R029; nothing is changed by looking.

What cannot be compared from here is said to be unknown.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from django.conf import STATICFILES_STORAGE_ALIAS
from django.core.checks import CheckMessage, Error, Info
from django.core.checks import Warning as Caution
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, storages
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from deploy_ops.advice import manage
from deploy_ops.backup.catalog import complete_backups
from deploy_ops.backup.entry import Level
from deploy_ops.databases import database_for
from deploy_ops.errors import ConfigurationError, DeployOpsError, ReleaseRefused
from deploy_ops.flags import flag_overviews
from deploy_ops.migrate.journal import unresolved_runs
from deploy_ops.phases.backfill.entry import unfinished
from deploy_ops.phases.instances import look
from deploy_ops.phases.session_name import release_tag
from deploy_ops.phases.waiting import all_waiting
from deploy_ops.release.host.releases import directory_of, find_release
from deploy_ops.release.host.tags import parse
from deploy_ops.release.page.host import find_host
from deploy_ops.release.predeploy import BACKUP_AGE
from deploy_ops.release.rollback import Decision, WayBack
from deploy_ops.release.static import ReleaseStaticFilesStorage, manifest_of
from deploy_ops.version import code_version

BACKUP, NEWER = "deploy_ops.R023", "deploy_ops.R026"


def look_back(way: WayBack) -> Iterator[CheckMessage]:
    """Say what speaks against giving the requests to the older release, now."""
    yield _files(way)
    yield _static_files(way)
    yield _backup(way)
    yield from _contracts(way)
    yield from _flags(way)
    yield _newer_code(way)
    yield from _runs(way)
    yield from _backfills(way)
    yield Info(
        f"What no program here can see: whether {way.version} serves well once requests reach it.",
        hint="Error rates and response times, and what users report, after the switch.",
        id="deploy_ops.R029",
    )


def _files(way: WayBack) -> CheckMessage:
    """Code and dependencies of the older release: on a host with deploy.sh a directory has both."""
    name = f"v{way.version}"
    try:
        host, tag = find_host(), parse(name)
    except (ConfigurationError, ReleaseRefused):
        host = None
    if host is None:
        return Info(
            f"Whether the files and dependencies of {name} are kept is not known here: this is no "
            "release of deploy.sh.",
            id="deploy_ops.R021",
        )
    if find_release(host, tag) is None:
        return Error(
            f"{name} is not on this host, or only partly built: {directory_of(host, tag)}.",
            hint="See what there is:\n    ./deploy.sh --status",
            id="deploy_ops.R021",
        )
    return Info(
        f"{name} is kept with its dependencies in {directory_of(host, tag)}.", id="deploy_ops.R021"
    )


def _static_files(way: WayBack) -> CheckMessage:
    manifest = manifest_of(way.version)
    try:
        storage = storages[STATICFILES_STORAGE_ALIAS]
    except (InvalidStorageError, ImproperlyConfigured):
        storage = None  # the project serves none
    if not isinstance(storage, ReleaseStaticFilesStorage):
        return Info(
            f"Whether the static files of {way.version} are kept is not known: no storage of "
            "static files here has a manifest for each release.",
            id="deploy_ops.R022",
        )
    if not storage.exists(manifest):
        return Error(
            f"The static files of {way.version} are gone: there is no {manifest}. Its pages would "
            "fail.",
            hint=f"Collect them again, from the directory of {way.version}:\n"
            + manage("collectstatic", "--noinput", alias=DEFAULT_DB_ALIAS),
            id="deploy_ops.R022",
        )
    return Info(f"The static files of {way.version} are kept ({manifest}).", id="deploy_ops.R022")


def _backup(way: WayBack) -> CheckMessage:
    identity = database_for(way.alias).identify()
    ours = [each for each in complete_backups() if each.belongs_to(identity)]
    taken = " One is taken and verified before anything is undone."
    more = taken if way.decision is Decision.REVERSE else ""
    take = f"Take one:\n{manage('backup', alias=way.alias)}"
    if not ours:
        return Caution(f"There is no backup of this database.{more}", hint=take, id=BACKUP)
    newest, age = ours[-1], datetime.now(UTC) - ours[-1].created_at
    hours = age.total_seconds() / 3600
    text = f"Backup {newest.id} is the newest, {hours:.1f} h old, verified by level {newest.level}."
    if age > BACKUP_AGE or newest.level.rank < Level.READ.rank:
        return Caution(text + more, hint=take, id=BACKUP)
    return Info(text + more, id=BACKUP)


def _contracts(way: WayBack) -> Iterator[CheckMessage]:
    rows = [each.row for each in all_waiting(connections[way.alias])]
    if rows:
        listed = "; ".join(f"{row.place} ({row.description})" for row in rows)
        yield Caution(
            f"These wait for the contract phase, which would take away what {way.version} needs, "
            f"or may: {listed}.",
            hint="Run no contract phase while it serves. See them:\n"
            + manage("contract", "list", alias=way.alias),
            id="deploy_ops.R024",
        )


def _flags(way: WayBack) -> Iterator[CheckMessage]:
    known = way.release.flags
    if known is None:
        yield Info(
            f"Which flags {way.version} has is not known: another version of deploy_ops released "
            "it.",
            id="deploy_ops.R025",
        )
        return
    try:
        flags = [each for each in flag_overviews() if each.declaration and each.name not in known]
    except (DatabaseError, DeployOpsError) as error:
        yield Info(f"Whether new flags are on is not known: {error}.", id="deploy_ops.R025")
        return
    if on := [each.name for each in flags if each.is_on is not False]:
        off = "\n".join(manage("flags", "off", name, alias=DEFAULT_DB_ALIAS) for name in on)
        yield Caution(
            f"Flags are on that {way.version} does not know: {', '.join(on)}. What they switch on "
            "ends with the way back, and what it has written stays.",
            hint=f"Switch them off first, while {code_version()} still serves:\n{off}",
            id="deploy_ops.R025",
        )


def _newer_code(way: WayBack) -> CheckMessage:
    database, old = database_for(way.alias), release_tag(way.version)
    if database.vendor != "postgresql":
        return Info(
            "Which processes are at work on a SQLite database is not known.", id="deploy_ops.R026"
        )
    newer = [each for each in look(database).processes if each.release != old]
    if not newer:
        return Info(f"No process of another release than {way.version} was seen.", id=NEWER)
    listed = "\n".join(
        f"- {each.release or 'of an unknown release'}: {each.what}" for each in newer
    )
    what = "Code of other releases is at work, or was until recently"
    if way.decision is Decision.CODE_ONLY:
        return Info(f"{what}. It may stay:\n{listed}", id=NEWER)
    return Caution(
        f"{what}:\n{listed}\nOnce the schema goes back, its statements fail.",
        hint="Stop it first, or let nobody in until the older release serves.",
        id=NEWER,
    )


def _runs(way: WayBack) -> Iterator[CheckMessage]:
    for record in unresolved_runs(database_for(way.alias).identify().key):
        yield Caution(
            f"Run {record.run} did not end (last step: {record.last_step}). Without --plan it is "
            "resolved first, and then this is decided again.",
            hint=manage("rollback", "--to", f"v{way.version}", alias=way.alias),
            id="deploy_ops.R027",
        )


def _backfills(way: WayBack) -> Iterator[CheckMessage]:
    for name in unfinished(connections[way.alias]):
        yield Caution(
            f"The backfill {name} is not done, and code of {way.version} may not go on with it.",
            hint=f"Let it wait:\n{manage('backfill', 'pause', name, alias=way.alias)}",
            id="deploy_ops.R028",
        )
