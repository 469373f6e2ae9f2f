"""What one operation does to one table: the lock it takes, and the work it does under that lock."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Lock(IntEnum):
    """PostgreSQL's table locks, weakest first."""

    NONE = 0
    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    @property
    def label(self) -> str:
        """As PostgreSQL's documentation writes it."""
        return self.name.replace("_", " ")

    @property
    def waiting(self) -> str:
        """Who waits while it is held; empty where no statement of an application does."""
        if self is Lock.ACCESS_EXCLUSIVE:
            return "reads and writes"
        if self >= Lock.SHARE:
            return "writes"
        return "writes of the same rows" if self is Lock.ROW_EXCLUSIVE else ""


class Work(StrEnum):
    """What takes time under the lock."""

    NONE = "none"
    SCAN = "scan"
    BUILD = "build"
    CHECK_KEYS = "check_keys"
    REWRITE = "rewrite"
    UPDATE = "update"
    SAVE_EACH = "save_each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """One thing that an operation does to one table.

    `rule` is the id of what is wrong with it, empty where only its lock counts. `what` begins the
    message ("Adding NOT NULL to reisekosten_fahrt.status"), `cure` is code to paste. `times` counts
    repeated work, such as two indexes; `is_bounded` says that it may be about a few rows only.
    """

    table: str
    lock: Lock
    rule: str = ""
    work: Work = Work.NONE
    what: str = ""
    cure: str = ""
    times: int = 1
    is_bounded: bool = False
