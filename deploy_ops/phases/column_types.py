"""Which column types take every value of another one (pure).

Types as Django names them for PostgreSQL. Of types that are not known here, only the same one does.
"""

import re

INTEGERS = ("smallint", "integer", "bigint")
_FORM = re.compile(r"([a-z][a-z ]*[a-z])(?:\((\d+)(?:, *(\d+))?\))?(.*)")


def takes_all_of(wider: str, narrower: str) -> bool:
    """Whether a column of type `wider` takes whatever code that knows `narrower` writes."""
    if wider == narrower:
        return True
    to, of = _FORM.fullmatch(wider), _FORM.fullmatch(narrower)
    if not to or not of or to[4] != of[4]:
        return False
    if to[1] in INTEGERS and of[1] in INTEGERS:
        return INTEGERS.index(to[1]) >= INTEGERS.index(of[1])
    if to[1] == of[1] == "numeric":
        return _takes_digits(to, of)
    texts = ("varchar", "text")
    if to[1] in texts and of[1] in texts:
        return to[2] is None or (of[2] is not None and int(to[2]) >= int(of[2]))
    return False


def _takes_digits(to: "re.Match[str]", of: "re.Match[str]") -> bool:
    if to[2] is None:
        return True
    if of[2] is None:
        return False
    scale, of_scale = int(to[3] or 0), int(of[3] or 0)
    return scale >= of_scale and int(to[2]) - scale >= int(of[2]) - of_scale


def is_free(old: str, new: str) -> bool:
    """Whether PostgreSQL changes the type without reading rows, and old code can live with it."""
    if old == new:
        return True
    if new in INTEGERS or new.endswith("]") or not takes_all_of(new, old):
        return False
    scales = [kind.partition(",")[2] for kind in (old, new)]
    return not old.startswith("numeric") or scales[0] == scales[1] or new == "numeric"
