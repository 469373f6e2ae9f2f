"""How a section of the page stands, which is also the class of its colour."""

from enum import StrEnum


class Tone(StrEnum):
    """QUIET has nothing to tell, BUSY goes on by itself, WARN wants a look, BAD a person now."""

    QUIET = "quiet"
    OK = "ok"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"
