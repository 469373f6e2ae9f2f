"""What `restore --table` and `restore --rows` tell people and programs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from deploy_ops.backup.entry import Backup
from deploy_ops.databases import database_for
from deploy_ops.databases.rows import Row, TableDifference
from deploy_ops.lock import DeployLock
from deploy_ops.management.confirmation import Confirmation
from deploy_ops.progress import Progress
from deploy_ops.restore import PreparedTables, RestoredTables, RowsDifference, prepare_tables

SHOWN = 20
LONGEST_VALUE = 40
Json = dict[str, Any]


def restore_tables_as_asked(
    backup: Backup,
    lock: DeployLock,
    confirmation: Confirmation,
    progress: Progress,
    options: Mapping[str, Any],
) -> RestoredTables:
    """Show what would go and come, ask, and put the rows back; nothing where nothing differs."""
    alias, jobs = options["database"], options["jobs"]
    how: dict[str, Any] = {"alias": alias, "lock": lock, "jobs": jobs, "progress": progress}
    with prepare_tables(backup, options["tables"], **how) as prepared:
        place = database_for(alias).identify().place
        if not prepared.is_needed:
            return RestoredTables(place, prepared.differences, {}, ())
        was_shown = confirmation.confirm(
            place, describe_prepared(prepared), "put these rows into the live database"
        )
        return prepared.replace(is_agreed=not was_shown)


def describe_prepared(prepared: PreparedTables) -> Iterator[str]:
    """What would be lost of each table, and where it stays."""
    yield "What the restore does to each table:"
    yield from map(_described, prepared.differences)
    yield from prepared.replacement.notes
    yield f"What is taken out stays in {', '.join(prepared.kept.values())}."


def describe_tables(restored: RestoredTables, backup: Backup) -> Iterator[str]:
    """What was done, and where the rows are that went."""
    names = ", ".join(each.table for each in restored.tables)
    if not restored.kept:
        yield f"{names}: the rows are those of backup {backup.id}. Nothing was changed."
        return
    yield f"The rows of {names} are those of backup {backup.id}. What was taken out is kept:"
    for each in restored.tables:
        kept = restored.kept[each.table]
        yield f"    {each.table}: {_rows(each.only_live + each.changed)} in {kept}"
    yield "When nothing is missing, drop them:"
    yield from (f"    DROP TABLE {kept};" for kept in restored.kept.values())


def tables_as_json(restored: RestoredTables) -> Json:
    """The same for programs."""
    tables = [
        {name: value for name, value in asdict(each).items() if name != "digest"}
        | {"kept": restored.kept.get(each.table)}
        for each in restored.tables
    ]
    return {"database": restored.database, "tables": tables, "notes": [*restored.notes]}


def describe_difference(found: RowsDifference) -> Iterator[str]:
    """Numbers, and the first rows of each kind; a changed row by what changed in it."""
    by_key = f", by {', '.join(found.key)}" if found.key else ""
    yield (
        f"{_rows(found.same)} the same, {found.changed} changed{by_key}, "
        f"{found.only_backup} only in the backup, {found.only_live} only in the live database."
    )
    yield from _shown(
        "Only in the backup", found.only_backup, _lines(found, found.rows_only_backup)
    )
    yield from _shown(
        "Only in the live database", found.only_live, _lines(found, found.rows_only_live)
    )
    changes = (_change(found, each.backup, each.live) for each in found.rows_changed)
    yield from _shown("Changed, from the backup to now", found.changed, changes)
    yield "Nothing was changed."


def _described(each: TableDifference) -> str:
    if each.is_none:
        return f"    {each.table}: nothing, its rows are those of the backup"
    return (
        f"    {each.table}: {_rows(each.only_live)} taken out that the backup does not have, "
        f"{each.changed} changed back, {_rows(each.only_backup)} put back that had gone"
    )


def _shown(title: str, number: int, lines: Iterable[str]) -> Iterator[str]:
    if not number:
        return
    yield f"{title}:"
    yield from (f"    {line}" for line, _ in zip(lines, range(SHOWN)))
    if number > SHOWN:
        yield f"    and {number - SHOWN} more"


def _lines(found: RowsDifference, rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        pairs = zip(found.columns, row, strict=True)
        yield ", ".join(f"{name}={_value(value)}" for name, value in pairs)


def _change(found: RowsDifference, backup: Row, live: Row) -> str:
    triples = list(zip(found.columns, backup, live, strict=True))
    key = [f"{name}={_value(now)}" for name, _, now in triples if name in found.key]
    changed = [
        f"{name}: {_value(then)} -> {_value(now)}" for name, then, now in triples if then != now
    ]
    return f"{', '.join(key)}: {'; '.join(changed)}"


def _value(value: str | None) -> str:
    if value is None:
        return "NULL"
    text = " ".join(value.split())
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE - 3]}..."


def _rows(number: int) -> str:
    return f"{number} row" if number == 1 else f"{number} rows"
