"""What each package has to say, read when Prometheus asks (docs/reference/metrics.md)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS, connections
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from deploy_ops.audit import read_events
from deploy_ops.backup.catalog import list_entries
from deploy_ops.backup.entry import Backup, Entry, State
from deploy_ops.conf import conf
from deploy_ops.flags.overview import flag_overviews
from deploy_ops.flags.person import UserContext
from deploy_ops.flags.rollout import BUCKETS
from deploy_ops.flags.state import State as FlagState
from deploy_ops.flags.store import store
from deploy_ops.health.readiness import pending_migrations
from deploy_ops.migrate.other_migrate import what_is_other
from deploy_ops.phases.backfill.control import State as BackfillState
from deploy_ops.phases.backfill.control import all_backfills, state_of
from deploy_ops.phases.backfill.entry import is_there
from deploy_ops.phases.rows import Row, waiting_rows
from deploy_ops.times import aware, moment
from deploy_ops.version import code_version

PREFIX = "deploy_ops_"


def build() -> Iterator[Metric]:
    """The version that this process runs, as a label of a constant 1."""
    info = _gauge("build_info", "The deployed version, as a label of a constant 1.", "version")
    info.add_metric([code_version()], 1)
    yield info


def backups() -> Iterator[Metric]:
    """Age, size and proof of the newest usable backup of each database, and how many there are."""
    entries = list_entries()
    yield _numbers(entries)
    usable = [e.backup for e in entries if e.backup and e.state is State.COMPLETE]
    newest = {backup.place: backup for backup in usable}
    yield _of_newest(
        "backup_last_timestamp_seconds",
        "When the newest usable backup was begun, in seconds since 1970.",
        {place: backup.created_at.timestamp() for place, backup in newest.items()},
    )
    yield _of_newest(
        "backup_last_size_bytes",
        "Size of all files of the newest usable backup.",
        {place: backup.size_bytes for place, backup in newest.items()},
    )
    yield _verified(usable)


def migrations() -> Iterator[Metric]:
    """Migrations that the code has and the database has not; no figure where it is not known."""
    pending = _gauge(
        "migrations_pending",
        "Migrations of the code that are not applied to the database.",
        "alias",
    )
    # What readiness asks for. Others may have no such table, or be migrated by somebody else.
    alias = DEFAULT_DB_ALIAS
    if (number := len(pending_migrations(alias))) or not what_is_other(alias):
        pending.add_metric([alias], number)
    yield pending


def contracts() -> Iterator[Metric]:
    """What waits until the old release is gone, and since when."""
    waiting = _gauge(
        "contract_waiting", "Operations that wait for the contract phase.", "alias", "state"
    )
    oldest = _gauge(
        "contract_oldest_timestamp_seconds",
        "Since when the oldest operation waits for the contract phase, in seconds since 1970.",
        "alias",
    )
    alias = DEFAULT_DB_ALIAS
    rows = waiting_rows(connections[alias])
    states = Counter(_state(row) for row in rows)
    for state in ("waiting", "failed", "skipped"):
        waiting.add_metric([alias, state], states[state])
    # One that somebody has left out waits for nobody.
    if moments := [row.created_at for row in rows if not row.skipped_because]:
        oldest.add_metric([alias], min(moments).timestamp())
    yield from (waiting, oldest)


def _state(row: Row) -> str:
    if row.skipped_because:
        return "skipped"
    return "failed" if row.last_error else "waiting"


def backfills() -> Iterator[Metric]:
    """How many backfills there are, and how far those are that are not finished."""
    labels = ("alias", "name", "state")
    number = _gauge("backfills", "Backfills.", "alias", "state")
    read = _gauge(
        "backfill_read_ratio",
        "Share of its rows that an unfinished backfill has read.",
        *labels,
    )
    last = _gauge(
        "backfill_last_timestamp_seconds",
        "When an unfinished backfill last wrote a batch, or was begun or created, as a Unix time.",
        *labels,
    )
    alias = DEFAULT_DB_ALIAS
    found = all_backfills(alias) if is_there(connections[alias]) else []
    states = Counter(map(state_of, found))
    for state in BackfillState:
        number.add_metric([alias, state], states[state])
    for each in found:
        if not each.done_at:
            values = [alias, each.name, state_of(each)]
            read.add_metric(values, each.rows_read / max(each.rows_total, each.rows_read, 1))
            # One that nobody has begun has been waiting since it was written down.
            last.add_metric(values, aware(each.updated_at or each.created_at).timestamp())
    yield from (number, read, last)


def events() -> Iterator[Metric]:
    """When each thing that the audit knows last was done, refused or failed."""
    last = _gauge(
        "event_last_timestamp_seconds",
        "When an event of this kind last had this outcome, in seconds since 1970.",
        *("kind", "outcome", "version"),
    )
    newest = {(event.kind, event.outcome): event for event in read_events(conf.state_dir)}
    for (kind, outcome), event in newest.items():
        if at := moment(event.at):
            last.add_metric([kind, outcome, str(event.version)], at.timestamp())
    yield last


def flags() -> Iterator[Metric]:
    """How far each declared flag is rolled out, and who decided that."""
    rollout = _gauge(
        "flag_rollout_ratio",
        "Share of all people for whom a flag is on: 1 everybody, 0 nobody but those it names.",
        *("flag", "origin"),
    )
    for name, state in _flag_states().items():
        rollout.add_metric([name, state.origin], _share(state))
    yield rollout


def stale_flags() -> Iterator[Metric]:
    """Which flags somebody should have removed by now."""
    stale = _gauge(
        "flag_stale",
        "1 for a flag that is overdue, or has a row and no declaration.",
        "flag",
    )
    for each in flag_overviews() if conf.flags else ():
        stale.add_metric([each.name], each.is_stale)
    yield stale


def _flag_states() -> Mapping[str, FlagState]:
    """Without a declaration there is nothing to ask the database for."""
    return store.current().states if conf.flags else {}


def _share(state: FlagState) -> float:
    """What a flag is for somebody without any property; a percentage has no answer for them."""
    answer = state.evaluate(UserContext(None, None))
    if answer.reason.endswith(":no_id") and state.threshold is not None:
        return state.threshold / BUCKETS
    return float(answer.enabled)


def are_up(name: str, text: str, label: str, states: Mapping[str, bool]) -> Metric:
    """A gauge that is 1 for what is well and 0 for what is not."""
    gauge = _gauge(name, text, label)
    for each, is_ok in states.items():
        gauge.add_metric([each], is_ok)
    return gauge


def _numbers(entries: list[Entry]) -> Metric:
    gauge = _gauge("backups", "Backups in the catalog.", "state")
    found = Counter(entry.state for entry in entries)
    for state in State:
        gauge.add_metric([state], found[state])
    return gauge


def _of_newest(name: str, text: str, values: dict[str, float]) -> Metric:
    gauge = _gauge(name, text, "database")
    for place, value in values.items():
        gauge.add_metric([place], value)
    return gauge


def _verified(usable: list[Backup]) -> Metric:
    """A restore proves more than a look at the manifest, so each level has its own time."""
    gauge = _gauge(
        "backup_verified_timestamp_seconds",
        "When a usable backup last passed a verification of this level, in seconds since 1970.",
        *("database", "level"),
    )
    last: dict[tuple[str, str], float] = {}
    for backup in usable:
        for entry in backup.verifications:
            if "failed" in entry:
                continue
            key = backup.place, str(entry["level"])
            at = datetime.fromisoformat(entry["at"]).timestamp()
            last[key] = max(at, last.get(key, at))
    for (place, level), at in last.items():
        gauge.add_metric([place, level], at)
    return gauge


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)
