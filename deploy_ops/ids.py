"""Ids of backups and runs: text that sorts in the order of their making.

`20260131T020000Z-7a120c3f` is a second in UTC, its microseconds as five hexadecimal digits, and
three random ones, since two hosts may share a storage. Older ids have eight random digits there;
they have the same form, and sort beside these by their second.
"""

import re
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from deploy_ops.errors import UsageError

_FORM = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_BEGINNING = re.compile(r"[0-9]{8}(T[0-9]{0,6}|T[0-9]{6}Z|T[0-9]{6}Z-[0-9a-f]{0,7})?")
_SECOND = "%Y%m%dT%H%M%SZ"
_SHORT = len("20260131T020000Z")
_MOST = 5  # ids that are named where a beginning is not enough


def new_id(now: datetime, *, after: str = "") -> str:
    """Make an id of a time; where that is not behind the id `after`, of the microsecond behind it.

    So a clock that is set back changes no order.
    """
    moment = max(now.astimezone(UTC), _moment_behind(after))
    return f"{moment:{_SECOND}}-{moment.microsecond:05x}{secrets.randbelow(16**3):03x}"


def is_id(text: str) -> bool:
    """Whether a text has exactly the form of `new_id`, so that an id is never a path."""
    return bool(_FORM.fullmatch(text))


def shortened(ids: Collection[str]) -> Mapping[str, str]:
    """What to show of each id: its second, and all of it where another has the same second."""
    seconds = Counter(each[:_SHORT] for each in ids)
    return {
        each: each[:_SHORT] if is_id(each) and seconds[each[:_SHORT]] == 1 else each for each in ids
    }


def is_beginning(text: str) -> bool:
    """Whether a text is the beginning of an id, from its day on, and not all of it."""
    return bool(_BEGINNING.fullmatch(text))


def only_one(text: str, ids: Iterable[str]) -> str | None:
    """The id that begins with a text, None if none does; raises UsageError if several do."""
    found = sorted(each for each in ids if is_id(each) and each.startswith(text))
    if len(found) > 1:
        raise UsageError(
            f"{text} is the beginning of {len(found)} ids: {_listed(found)}. Nothing was changed. "
            "Type more of the one you mean."
        )
    return found[0] if found else None


def _listed(ids: Collection[str]) -> str:
    """The newest of them."""
    newest = sorted(ids)[: -_MOST - 1 : -1]
    left = len(ids) - len(newest)
    return ", ".join(newest) + (f" and {left} older" if left else "")


def _moment_behind(text: str) -> datetime:
    """The first moment whose ids sort behind this one; the distant past if it has none."""
    try:
        second = datetime.strptime(text[:16], _SECOND).replace(tzinfo=UTC)
        return second + timedelta(microseconds=int(text[17:22], 16) + 1)
    except (ValueError, OverflowError):  # no id, or with a 13th month: nobody's clock said that
        return datetime.min.replace(tzinfo=UTC)
