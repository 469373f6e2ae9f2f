"""Which column another one is the shadow of: a second name that a trigger keeps equal to it.

What an insert may leave out is said by the column itself: a default of the shadow could not be told
from a value that new code gave, and would be written over what old code gave.
"""

from deploy_ops.errors import NotOnline
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.column_facts import column_exists

RANK = 1  # before triggers that fill what is still empty
RANK_AFTER = 4  # after them, for what they have filled
_SOURCES = """
    SELECT tgargs FROM pg_trigger
    WHERE tgrelid = to_regclass(%s) AND starts_with(tgname, 'deploy_ops_1_rename_')
"""


def source_of(change: Change, table: str, column: str) -> str:
    """The column that has the values; the column itself if it is nobody's shadow."""
    sources = _sources(change, table)
    while column in sources:
        column = sources[column]
    return column


def shadows_of(change: Change, table: str, column: str) -> set[str]:
    """The columns that are kept equal to one."""
    sources = _sources(change, table)
    direct = {shadow for shadow, source in sources.items() if source == column}
    return direct.union(*(shadows_of(change, table, each) for each in direct))


def _sources(change: Change, table: str) -> dict[str, str]:
    """By the name of the shadow."""
    if change.connection.vendor != "postgresql":
        return {}
    with change.connection.cursor() as cursor:
        cursor.execute(_SOURCES, [change.quote(table)])
        found = [bytes(arguments).decode().split("\0") for (arguments,) in cursor.fetchall()]
    return {shadow: source for source, shadow, *_ in found}


def check_no_shadow(change: Change, table: str, column: str, what: str) -> None:
    """Raise NotOnline for what would be done to the shadow, and go with it."""
    if change.editor.collect_sql or source_of(change, table, column) == column:
        return
    raise NotOnline(
        f"{table}.{column} is the second column of a renamed field until the contract phase: "
        f"{what}. Nothing was changed. Run the contract phase first, then this migration:\n"
        + change.contract_command
    )


def check_free(change: Change, table: str, column: str) -> None:
    """Raise NotOnline if a column that is to be made is there already, with values of others."""
    if not change.editor.collect_sql and column_exists(change, table, column):
        raise NotOnline(
            f"{table} already has a column {column}, made by something else; its values would be "
            "overwritten. Nothing was changed. If its removal waits, run the contract phase "
            f"first:\n{change.contract_command}\n"
            "Else rename that column, or give the field a db_column of its own."
        )


def equal(one: str, other: str) -> str:
    """Whether two values are the same to the last byte, of whatever type.

    `=` takes some for the same that are not (citext, collations without case, json has none), and
    what only differs so would be lost.
    """
    return f"pg_catalog.record_image_eq(ROW({one}), ROW({other}))"
