"""Who belongs to a percentage: the same people every time, on every host and device."""

from hashlib import sha256

BUCKETS = 10_000  # steps of 0.01 %


def bucket_of(flag: str, identity: str) -> int:
    """The bucket from 0 to 9999 to which a flag assigns an identity.

    Never change this: everybody would be reassigned, in the middle of every rollout. sha256 rather
    than crc32, with which flags of similar names chose nearly the same people.
    """
    return int.from_bytes(sha256(f"{flag}:{identity}".encode()).digest()[:8]) % BUCKETS


def is_included(flag: str, identity: str, threshold: int) -> bool:
    """Does the identity belong to the first `threshold` of 10 000? A higher one only adds."""
    return bucket_of(flag, identity) < threshold
