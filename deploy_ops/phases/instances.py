"""Whether code of an older release is still at work: what contract rows wait for.

Facts, not a time that somebody waited: the sessions of the database with the release that each
names, and when processes without a session were last seen (heartbeat.py). The order of releases is
that of their history, as far as this host has it; a release that it does not know counts as older.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.core.checks import CheckMessage, Error, Info
from django.db.migrations.recorder import MigrationRecorder

from deploy_ops.advice import manage
from deploy_ops.audit import restores_of
from deploy_ops.conf import conf
from deploy_ops.databases import Database, database_for
from deploy_ops.databases.values import ClientSession
from deploy_ops.history import released_versions
from deploy_ops.models import Instance
from deploy_ops.phases.session_name import release_in, release_tag
from deploy_ops.phases.waiting import all_waiting
from deploy_ops.version import UNKNOWN, code_version

# The migration since which processes say that they are alive.
HEARTBEATS_SINCE = ("deploy_ops", "0004_instance")
# Programs of people and of operation, as they name themselves: none of them is the application's
# code. Ours work under the deploy lock, or read only.
TOOLS = (
    "deploy_ops/",
    "psql",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_basebackup",
    "pgbackrest",
    "barman",
    "vacuumdb",
    "reindexdb",
    "pgAdmin",
    "DBeaver",
    "DataGrip",
    "postgres_exporter",
)


@dataclass(frozen=True, slots=True)
class Process:
    """One that is connected or was seen: the tag of its release, None if it names none."""

    release: str | None
    what: str
    is_connected: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at a moment. `waiting` are the releases that recorded the waiting rows.

    `restored_at` is when this database was last put in the place of another one, if it was.
    """

    processes: Sequence[Process]
    waiting: Collection[str]
    running: str
    history: Sequence[str]
    heartbeats_since: datetime | None
    restored_at: datetime | None
    now: datetime
    within: timedelta


def contract_findings(alias: str) -> list[CheckMessage]:
    """Say who still runs code from before the waiting rows; an Error is what they wait for.

    One Info if there is nobody. Nothing where no rows can wait: on SQLite.
    """
    database = database_for(alias)
    if database.vendor != "postgresql":
        return []
    return list(findings_of(look(database), alias))


def look(database: Database) -> Facts:
    """Read sessions, heartbeats, waiting rows and the history of releases."""
    sessions = database.client_sessions()
    restores = restores_of(conf.state_dir, database.identify().name)
    return Facts(
        processes=[
            *_connected(sessions, conf.other_programs),
            *_seen(database, conf.contract_after),
        ],
        waiting=_waiting(database),
        running=code_version(),
        history=released_versions(),
        heartbeats_since=_heartbeats_since(database),
        restored_at=restores[-1].at if restores else None,
        now=datetime.now(UTC),
        within=conf.contract_after,
    )


def findings_of(facts: Facts, alias: str) -> Iterator[CheckMessage]:
    """Decide from the facts alone."""
    again = f"Then run this again:\n{manage('safe_migrate', '--phase', 'contract', alias=alias)}"
    errors = [*_older(facts, again), *_nameless(facts, again), *_not_known(facts, again, alias)]
    yield from errors or [_nobody(facts)]


def is_known_since(release: str, waiting: Collection[str], facts: Facts) -> bool:
    """Whether code of a release (its tag) is as new as all the releases that recorded rows."""
    if release == release_tag(facts.running):
        return True
    order = [release_tag(version) for version in facts.history]
    return all(_is_as_new(release, release_tag(row), order) for row in waiting or {facts.running})


def _is_as_new(release: str, other: str, order: Sequence[str]) -> bool:
    if release == other:
        return True
    if release not in order or other not in order:
        return False
    return order.index(release) > order.index(other)


def _older(facts: Facts, again: str) -> Iterator[CheckMessage]:
    by_release: dict[str, list[Process]] = {}
    for process in facts.processes:
        release = process.release
        if release is not None and not is_known_since(release, facts.waiting, facts):
            by_release.setdefault(release, []).append(process)
    for release, processes in by_release.items():
        is_connected = any(process.is_connected for process in processes)
        since = "is still at work" if is_connected else "may still be at work"
        yield Error(
            f"Release {release} {since}:\n{_listed(process.what for process in processes)}\n"
            "The contract phase removes what its statements need: they would fail.",
            hint="Stop it, or let it end. The contract phase runs when no process of it was seen "
            f"for {_spoken(facts.within)} (DEPLOY_OPS_CONTRACT_AFTER). {again}",
            id="deploy_ops.T001",
        )


def _nameless(facts: Facts, again: str) -> Iterator[CheckMessage]:
    if nameless := [process.what for process in facts.processes if process.release is None]:
        yield Error(
            f"These do not say which release they run:\n{_listed(nameless)}\n"
            "If it is an old one, their statements would fail after the contract phase.",
            hint="Stop those that are processes of the application. If one is another program, "
            f"put its name into DEPLOY_OPS_OTHER_PROGRAMS. {again}",
            id="deploy_ops.T002",
        )


def _not_known(facts: Facts, again: str, alias: str) -> Iterator[CheckMessage]:
    if facts.running == UNKNOWN:
        yield Error(
            "The version of this code is not known, so processes of older releases cannot be "
            "recognised.",
            hint="Set the environment variable APP_VERSION for every process of the application, "
            f"with another value for each release. {again}",
            id="deploy_ops.T003",
        )
    elif facts.heartbeats_since is None:
        yield Error(
            "Processes cannot report that they are alive: table deploy_ops_instance is missing.",
            hint=f"Apply the migrations of deploy_ops:\n"
            f"{manage('safe_migrate', 'deploy_ops', alias=alias)}\n{again}",
            id="deploy_ops.T003",
        )
    elif (age := facts.now - facts.heartbeats_since) < facts.within:
        yield Error(
            "Processes have reported that they are alive only since "
            f"{_time(facts.heartbeats_since)}. An older one that is not connected at the moment "
            "would be missed.",
            hint=f"Wait {_spoken(facts.within - age)}. {again}",
            id="deploy_ops.T003",
        )
    elif facts.restored_at and (age := facts.now - facts.restored_at) < facts.within:
        yield Error(
            f"This database was restored at {_time(facts.restored_at)}, so what processes reported "
            "between the backup and then is not in it. An older process that is not connected at "
            "the moment would be missed.",
            hint=f"Wait {_spoken(facts.within - age)}. {again}",
            id="deploy_ops.T003",
        )


def _nobody(facts: Facts) -> CheckMessage:
    current = sum(process.release is not None for process in facts.processes)
    return Info(
        f"No process of an older release is connected, and none was seen for "
        f"{_spoken(facts.within)}. Seen of {facts.running} or a release as new: {current}.",
        id="deploy_ops.T004",
    )


def _connected(
    sessions: Iterable[ClientSession], others: tuple[str, ...] = ()
) -> Iterator[Process]:
    for session in sessions:
        release = release_in(session.name)
        if release is None and session.name.startswith(TOOLS + others):
            continue
        name = session.name or "a session without a name"
        host = f" from {session.host}" if session.host else ""
        since = f", connected since {_time(session.since)}" if session.since else ", connected"
        yield Process(release, f"{name}{host}{since} (server process {session.pid})")


def _seen(database: Database, within: timedelta) -> Iterator[Process]:
    if not database.has_table(Instance._meta.db_table):
        return
    with database.connection.cursor() as cursor:
        cursor.execute(
            "SELECT release, host, program, pid, seen_at FROM deploy_ops_instance"
            " WHERE seen_at > now() - make_interval(secs => %s) ORDER BY release, host, program",
            [within.total_seconds()],
        )
        for release, host, program, pid, seen_at in cursor.fetchall():
            tag = None if release == UNKNOWN else release_tag(release)
            what = f"{program} on {host}, last seen {_time(seen_at)} (process {pid})"
            yield Process(tag, what, is_connected=False)


def _waiting(database: Database) -> frozenset[str]:
    """Releases of the rows that the contract phase would run."""
    rows = all_waiting(database.connection)
    due = [each.row for each in rows if each.found and not each.row.skipped_because]
    return frozenset(row.release for row in due)


def _heartbeats_since(database: Database) -> datetime | None:
    applied = MigrationRecorder(database.connection).applied_migrations()
    if HEARTBEATS_SINCE not in applied:
        return None
    since: datetime = applied[HEARTBEATS_SINCE].applied
    return since.astimezone(UTC)  # without USE_TZ it is naive and local


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _spoken(duration: timedelta) -> str:
    minutes = -(-duration // timedelta(minutes=1))
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
