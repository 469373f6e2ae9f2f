"""Databases and uploads that restores have kept or left beside the live ones."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.db import DEFAULT_DB_ALIAS

from deploy_ops.databases import database_for
from deploy_ops.release.page.tone import Tone
from deploy_ops.restore.media import media_beside

_NAME = re.compile(
    r"_(?P<kind>before_restore|restoring|verify|failed|closed)_(?P<time>[0-9]{8}T[0-9]{6}Z)"
)


@dataclass(frozen=True, slots=True)
class Beside:
    """One of them: its name without directories, why it is there, and since when."""

    name: str
    kind: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Kept:
    """Oldest first."""

    databases: tuple[Beside, ...]
    media: tuple[Beside, ...]

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self.databases) + len(self.media)

    @property
    def tone(self) -> Tone:
        """They cost disk, and nothing else."""
        return Tone.BUSY if self.number else Tone.QUIET


def read() -> Kept:
    """Ask the server, and look beside the uploads."""
    return kept(database_for(DEFAULT_DB_ALIAS).databases_beside(), map(str, media_beside()))


def kept(databases: Iterable[str], media: Iterable[str]) -> Kept:
    """Read kind and time out of the names, which nobody but restores gives."""
    return Kept(tuple(map(_beside, databases)), tuple(map(_beside, media)))


def _beside(path: str) -> Beside:
    name = Path(path).name
    found = _NAME.search(name)
    if found is None:
        return Beside(name, "", None)
    since = datetime.strptime(found["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return Beside(name, found["kind"], since)
