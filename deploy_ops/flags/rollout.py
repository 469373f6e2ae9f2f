"""Who belongs to a percentage: the same people every time, on every host and device."""

from functools import lru_cache
from hashlib import sha256
from struct import Struct

BUCKETS = 10_000  # steps of 0.01 %
REMEMBERED = 4096  # buckets of the last to ask; about 1 MB

_first_eight_bytes = Struct(">Q").unpack_from


@lru_cache(REMEMBERED)
def bucket_of(flag: str, identity: str) -> int:
    """The bucket from 0 to 9999 to which a flag assigns an identity.

    Never change this: everybody would be reassigned, in the middle of every rollout. sha256 rather
    than crc32, with which flags of similar names chose nearly the same people.
    """
    number: int = _first_eight_bytes(sha256(f"{flag}:{identity}".encode()).digest())[0]
    return number % BUCKETS
