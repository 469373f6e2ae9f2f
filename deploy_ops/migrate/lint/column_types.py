"""What changing the type of a column costs: nothing, or the whole table written anew.

PostgreSQL decides by binary compatibility (ATColumnChangeRequiresRewrite); the cases that it lets
through are few, and what is not among them counts as a rewrite.
"""

import re

from deploy_ops.migrate.lint.impact import Work

TYPE = re.compile(r"(?P<base>[a-z ]+?)\s*(?:\((?P<arguments>[\d, ]+)\))?(?P<array>(\[\d*\])*)$")
ALIASES = {
    "character varying": "varchar",
    "integer": "int4",
    "bigint": "int8",
    "smallint": "int2",
    "decimal": "numeric",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "bit varying": "varbit",
    "serial": "int4",
    "bigserial": "int8",
    "smallserial": "int2",
}
COMPATIBLE = {("varchar", "text"), ("cidr", "inet"), ("text", "varchar")}
PRECISE = ("timestamptz", "timestamp", "time", "timetz", "interval")


def work_of_change(old: str, new: str) -> Work:
    """Whether rows are written anew; types as PostgreSQL or Django write them."""
    before, after = _parsed(old), _parsed(new)
    if before is None or after is None:
        return Work.NONE if old.lower() == new.lower() else Work.REWRITE
    (old_base, old_size, old_array), (new_base, new_size, new_array) = before, after
    if old_array != new_array:
        return Work.REWRITE
    if old_base != new_base:
        is_free = (old_base, new_base) in COMPATIBLE and not new_size
        return Work.NONE if is_free else Work.REWRITE
    return Work.NONE if _is_wider(old_base, old_size, new_size) else Work.REWRITE


def _parsed(text: str) -> tuple[str, tuple[int, ...], bool] | None:
    found = TYPE.match(text.strip().lower())
    if found is None:
        return None
    base = ALIASES.get(found["base"], found["base"])
    arguments = found["arguments"] or ""
    return base, tuple(int(each) for each in arguments.split(",") if each), bool(found["array"])


def _is_wider(base: str, old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    if old == new or not new:
        return True
    if not old:
        return base in PRECISE and new[0] >= 6
    if base == "numeric":
        return new[0] >= old[0] and (new[1:] or (0,)) == (old[1:] or (0,))
    return base in ("varchar", "varbit", *PRECISE) and new[0] >= old[0]
