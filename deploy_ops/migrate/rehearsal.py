"""What a rehearsal measured, as a value: per migration its statements and the locks it held."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

# Modes that make somebody wait who reads or writes the table; what readers do too is left out.
BLOCKS = {
    "ShareLock": "writes",
    "ShareRowExclusiveLock": "writes",
    "ExclusiveLock": "writes",
    "AccessExclusiveLock": "reads and writes",
}


@dataclass(frozen=True, slots=True)
class Held:
    """The strongest lock on a table that made others wait, and for how long all in all."""

    table: str
    mode: str
    seconds: float

    @property
    def blocks(self) -> str:
        """Who waits."""
        return BLOCKS[self.mode]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, without its values, and how long it took."""

    sql: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One migration, in one direction."""

    name: str
    backwards: bool
    seconds: float
    statements: tuple[Statement, ...]
    held: tuple[Held, ...]
    rewritten_bytes: int
    scanned_bytes: int

    def __str__(self) -> str:
        way = "backwards " if self.backwards else ""
        locks = "; ".join(
            f"{each.blocks} of {each.table} wait {each.seconds * 1000:.0f} ms" for each in self.held
        )
        work = "".join(
            f", {size / 1e6:.1f} MB {done}"
            for size, done in ((self.rewritten_bytes, "rewritten"), (self.scanned_bytes, "read"))
            if size
        )
        return f"{way}{self.seconds:.3f} s{work}{'; ' if locks else ''}{locks}"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The whole: forwards, backwards as far as it is reversible, and forwards again."""

    steps: tuple[Rehearsed, ...]
    error: str = ""
    failed: str = ""

    def longest(self) -> Held | None:
        """The lock that made others wait longest, in a migration that is run for real."""
        held = [each for step in self.steps if not step.backwards for each in step.held]
        return max(held, key=lambda each: each.seconds, default=None)

    def measured(self) -> dict[str, dict[str, Any]]:
        """What each migration took, the first time forwards: seconds, and locks that block."""
        return {
            step.name: {"seconds": step.seconds, "held": [asdict(each) for each in step.held]}
            for step in reversed(self.steps)
            if not step.backwards
        }

    def by_name(self) -> dict[str, str]:
        """What each migration came to, the first time forwards, as a sentence."""
        return {step.name: str(step) for step in reversed(self.steps) if not step.backwards}

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Rehearsal":
        """Back from `as_json`."""
        return cls(tuple(map(_rehearsed, data["steps"])), data["error"], data["failed"])


def _rehearsed(data: dict[str, Any]) -> Rehearsed:
    statements = tuple(Statement(**each) for each in data["statements"])
    held = tuple(Held(**each) for each in data["held"])
    return Rehearsed(**{**data, "statements": statements, "held": held})


def strongest(samples: Iterable[tuple[str, str, float]]) -> tuple[Held, ...]:
    """From (table, mode, seconds) the strongest mode of each table, with the longest time."""
    order = list(BLOCKS)
    found: dict[str, Held] = {}
    for table, mode, seconds in samples:
        best = found.get(table)
        if best is None:
            found[table] = Held(table, mode, seconds)
        else:
            mode = max(mode, best.mode, key=order.index)
            found[table] = Held(table, mode, max(seconds, best.seconds))
    return tuple(sorted(found.values(), key=lambda each: -each.seconds))
