"""Which versions are running, where, and in which colour."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.databases.values import ClientSession
from deploy_ops.models import Instance
from deploy_ops.phases.heartbeat import INTERVAL
from deploy_ops.phases.session_name import release_in, release_tag
from deploy_ops.release.page.host import Host, read_host
from deploy_ops.release.page.tone import Tone
from deploy_ops.times import aware
from deploy_ops.version import code_version

# A heartbeat comes once a minute; who misses two is not at work any more, or cannot say it.
ALIVE = 3 * INTERVAL
# The page's own threads connect for a moment each time that somebody looks.
LASTING = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Seen:
    """A program of a release on a host, and when it last said that it is alive."""

    release: str
    host: str
    program: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the processes and of the host."""

    running: str
    seen: Sequence[Seen]
    sessions: Sequence[ClientSession]
    host: Host
    now: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """One version at work; `colour` is "" where it is not known, `share` only a canary has."""

    name: str
    colour: str
    role: str  # "serves", "canary" or ""
    share: int
    programs: tuple[str, ...]
    hosts: tuple[str, ...]
    sessions: int
    seen_at: datetime | None
    is_alive: bool


@dataclass(frozen=True, slots=True)
class Versions:
    """Those at work first, newest seen first; those seen of late after them."""

    running: str
    all: tuple[Version, ...]
    host: Host

    @property
    def tone(self) -> Tone:
        """Two at work are a release on its way."""
        return Tone.BUSY if sum(each.is_alive for each in self.all) > 1 else Tone.OK


def read() -> Versions:
    """Ask the database and the host."""
    database = database_for(DEFAULT_DB_ALIAS)
    now = datetime.now(UTC)
    return versions(
        Facts(
            running=code_version(),
            seen=_seen(now - conf.contract_after) if _has_heartbeats() else (),
            sessions=[_with_zone(each) for each in database.client_sessions()],
            host=read_host(),
            now=now,
        )
    )


def versions(facts: Facts) -> Versions:
    """Sum up by version; a session names its release shortened (`release_tag`)."""
    full = {release_tag(each.release): each.release for each in facts.seen}
    full[release_tag(facts.running)] = facts.running
    tags = [
        tag for each in facts.sessions if _lasts(each, facts) and (tag := release_in(each.name))
    ]
    names = {*full.values(), *(full.get(tag, tag) for tag in tags)}
    found = [_version(name, facts, tags.count(release_tag(name))) for name in names]
    return Versions(facts.running, tuple(sorted(found, key=_order)), facts.host)


def _with_zone(session: ClientSession) -> ClientSession:
    return replace(session, since=session.since and aware(session.since))


def _lasts(session: ClientSession, facts: Facts) -> bool:
    return session.since is None or facts.now - session.since >= LASTING


def _version(name: str, facts: Facts, sessions: int) -> Version:
    seen = [each for each in facts.seen if each.release == name]
    seen_at = max((each.at for each in seen), default=None)
    is_fresh = seen_at is not None and facts.now - seen_at <= ALIVE
    colour = facts.host.colours.get(name, "")
    role = _role(colour, facts.host)
    return Version(
        name=name,
        colour=colour,
        role=role,
        share=facts.host.share if role == "canary" else 0,
        programs=tuple(sorted({each.program for each in seen})),
        hosts=tuple(sorted({each.host for each in seen})),
        sessions=sessions,
        seen_at=seen_at,
        is_alive=is_fresh or sessions > 0 or name == facts.running,
    )


def _role(colour: str, host: Host) -> str:
    if not colour:
        return ""
    return "serves" if colour == host.active else "canary" if colour == host.canary else ""


def _order(version: Version) -> tuple[bool, bool, float, str]:
    seen_at = version.seen_at.timestamp() if version.seen_at else float("inf")
    return (not version.is_alive, version.role != "serves", -seen_at, version.name)


def _has_heartbeats() -> bool:
    """Only PostgreSQL has them (phases/heartbeat.py), and only after their migration."""
    database = database_for(DEFAULT_DB_ALIAS)
    return database.vendor == "postgresql" and database.has_table(Instance._meta.db_table)


def _seen(since: datetime) -> list[Seen]:
    since = since if settings.USE_TZ else timezone.make_naive(since)
    rows = Instance.objects.using(DEFAULT_DB_ALIAS).filter(seen_at__gt=since)
    values = rows.values_list("release", "host", "program", "seen_at")
    return [Seen(release, host, program, aware(at)) for release, host, program, at in values]
