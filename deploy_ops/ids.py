"""Ids of backups and runs: text that sorts in the order of their making.

`20260131T020000Z-7a120c3f` is a second in UTC, its microseconds as five hexadecimal digits, and
three random ones, since two hosts may share a storage. Older ids have eight random digits there;
they have the same form, and sort beside these by their second.
"""

import re
import secrets
from datetime import UTC, datetime, timedelta

_FORM = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_SECOND = "%Y%m%dT%H%M%SZ"


def new_id(now: datetime, *, after: str = "") -> str:
    """Make an id of a time; where that is not behind the id `after`, of the microsecond behind it.

    So a clock that is set back changes no order.
    """
    moment = max(now.astimezone(UTC), _moment_behind(after))
    return f"{moment:{_SECOND}}-{moment.microsecond:05x}{secrets.randbelow(16**3):03x}"


def is_id(text: str) -> bool:
    """Whether a text has exactly the form of `new_id`, so that an id is never a path."""
    return bool(_FORM.fullmatch(text))


def _moment_behind(text: str) -> datetime:
    """The first moment whose ids sort behind this one; the distant past if it has none."""
    try:
        second = datetime.strptime(text[:16], _SECOND).replace(tzinfo=UTC)
        return second + timedelta(microseconds=int(text[17:22], 16) + 1)
    except (ValueError, OverflowError):  # no id, or with a 13th month: nobody's clock said that
        return datetime.min.replace(tzinfo=UTC)
