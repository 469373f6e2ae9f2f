"""Files of the write-ahead log by their names, and the positions in it (pure)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NAME = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_LOG_BYTES = 2**32  # what one value of a name's middle part stands for


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of the log: its number counts from the beginning of the log, on any timeline."""

    number: int
    timeline: int

    def name(self, segment_bytes: int) -> str:
        """What PostgreSQL calls it."""
        log, number = divmod(self.number, _LOG_BYTES // segment_bytes)
        return f"{self.timeline:08X}{log:08X}{number:08X}"


def segment_named(name: str, segment_bytes: int) -> Segment | None:
    """Read the name of a complete segment; None for what has another one."""
    if not (found := _NAME.fullmatch(name)):
        return None
    timeline, log, number = (int(part, 16) for part in found.groups())
    return Segment(log * (_LOG_BYTES // segment_bytes) + number, timeline)


def lsn_number(text: str) -> int:
    """Read a position such as 16/B374D848 as the byte that it stands for."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def missing(found: Iterable[Segment], first: Segment) -> list[Segment]:
    """Which segments are not there, from `first` to the last one found.

    After a promotion the log goes on under a higher timeline, so any from the first one's on will
    do.
    """
    usable = [each for each in found if each.timeline >= first.timeline]
    there = {each.number for each in usable}
    last = max(there, default=first.number)
    return [
        Segment(number, _timeline_at(usable, number, first.timeline))
        for number in range(first.number, last + 1)
        if number not in there
    ]


def _timeline_at(found: Iterable[Segment], number: int, first: int) -> int:
    return max((each.timeline for each in found if each.number < number), default=first)
