"""What the parts of an ALTER TABLE do, as PostgreSQL's grammar names them."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterator
from typing import Any

from deploy_ops.migrate.lint.column_types import work_of_change
from deploy_ops.migrate.lint.impact import Impact, Lock, Work
from deploy_ops.migrate.lint.parsing import functions_in, kind, last_name, name_of
from deploy_ops.migrate.lint.scene import World

ALWAYS = Lock.ACCESS_EXCLUSIVE
ONLINE = Lock.SHARE_UPDATE_EXCLUSIVE
WEAKER = {
    "AT_SetStatistics": ONLINE,
    "AT_SetOptions": ONLINE,
    "AT_ResetOptions": ONLINE,
    "AT_ClusterOn": ONLINE,
    "AT_DropCluster": ONLINE,
    "AT_SetRelOptions": ONLINE,
    "AT_ResetRelOptions": ONLINE,
} | {
    f"AT_{word}Trig{which}": Lock.SHARE_ROW_EXCLUSIVE
    for word in ("Enable", "Disable")
    for which in ("", "All", "User")
}
REWRITES = {
    "AT_SetLogged": "SET LOGGED",
    "AT_SetUnLogged": "SET UNLOGGED",
    "AT_SetAccessMethod": "SET ACCESS METHOD",
    "AT_SetTableSpace": "SET TABLESPACE",
    "AT_SetExpression": "SET EXPRESSION",
}
SERIAL = ("serial", "bigserial", "smallserial", "serial4", "serial8", "serial2")


def alter_table(node: Any, world: World) -> Iterator[Impact]:
    """All parts of one statement; views, indexes and sequences are nobody's tables."""
    if node.objtype.name != "OBJECT_TABLE":
        return
    table = name_of(node.relation)
    for command in node.cmds:
        yield from _command(command, table, world)


def _command(command: Any, table: str, world: World) -> Iterator[Impact]:
    what = command.subtype.name
    if what == "AT_AddColumn":
        yield Impact(table=table, lock=ALWAYS)
        yield from _add_column(command.def_, table, world)
    elif what == "AT_AddConstraint":
        yield from column_constraints([command.def_], table, world)
    elif what == "AT_ValidateConstraint":
        yield _validated(command.name, table, world)
    elif what == "AT_DropConstraint":
        yield from _dropped(command.name, table, world)
    elif what == "AT_SetNotNull":
        yield from _not_null(command.name, table, world)
    elif what == "AT_AlterColumnType":
        yield from _type(command, table, world)
    elif what in REWRITES:
        yield _rewritten(f"{REWRITES[what]} on {table}", table)
    elif what in ("AT_AttachPartition", "AT_DetachPartition"):
        yield from _partition(command, table)
    else:
        yield Impact(table=table, lock=WEAKER.get(what, ALWAYS))


def _rewritten(what: str, table: str) -> Impact:
    cure = "pg_repack, or planned downtime: safe_migrate --exclusive"
    return Impact(rule="L016", table=table, lock=ALWAYS, work=Work.REWRITE, what=what, cure=cure)


def _add_column(column: Any, table: str, world: World) -> Iterator[Impact]:
    place = f"{table}.{column.colname}"
    constraints = column.constraints or ()
    default = next((each for each in constraints if each.contype.name == "CONSTR_DEFAULT"), None)
    rule = _rewriting(column, default, constraints, world)
    cure = f"ALTER TABLE {table} ADD COLUMN {column.colname} ...  -- nullable; then Backfill(...)"
    if rule:
        what = f"Adding {place} with a value of its own in each row"
        yield Impact(rule=rule, table=table, lock=ALWAYS, work=Work.REWRITE, what=what, cure=cure)
    for impact in column_constraints(constraints, table, world, new_column=True):
        is_foreign_key = impact.work is Work.CHECK_KEYS
        if is_foreign_key and default is None or rule and impact.table == table:
            continue  # nothing to look up in NULLs; a rewrite does the rest by itself
        yield impact


def _rewriting(column: Any, default: Any, constraints: Any, world: World) -> str:
    kinds = {each.contype.name for each in constraints}
    if "CONSTR_GENERATED" in kinds:
        generated = next(e for e in constraints if e.contype.name == "CONSTR_GENERATED")
        return "L008" if generated.generated_kind == "s" else ""
    if "CONSTR_IDENTITY" in kinds or last_name(column.typeName.names) in SERIAL:
        return "L007"
    return "L007" if default is not None and _calls_volatile(default.raw_expr, world) else ""


def _calls_volatile(node: Any, world: World) -> bool:
    return not world.facts.volatile.isdisjoint(functions_in(node))


def column_constraints(
    constraints: Any, table: str, world: World, new_column: bool = False
) -> Iterator[Impact]:
    """Constraints of a column or a table, with what is checked at once."""
    del world
    for each in constraints:
        yield from _constraint(each, table, new_column)


def _constraint(each: Any, table: str, new_column: bool) -> Iterator[Impact]:
    what, name = each.contype.name, each.conname or ""
    at_once = not each.skip_validation
    later = f"ALTER TABLE {table} ADD CONSTRAINT {name or '...'} ... NOT VALID  -- then, in another"
    later += f" migration\nALTER TABLE {table} VALIDATE CONSTRAINT {name or '...'}"
    if what == "CONSTR_FOREIGN":
        yield from _foreign_key(each, table, later)
    elif what in ("CONSTR_CHECK", "CONSTR_NOTNULL") and not (
        new_column and what == "CONSTR_NOTNULL"
    ):
        work = Work.SCAN if at_once else Work.NONE
        rule = "L012" if what == "CONSTR_CHECK" else "L003"
        yield Impact(
            rule=rule if at_once else "",
            table=table,
            lock=ALWAYS,
            work=work,
            what=f"Adding the constraint {name} to {table}",
            cure=later,
        )
    elif what in ("CONSTR_UNIQUE", "CONSTR_PRIMARY", "CONSTR_EXCLUSION"):
        yield from _indexed(each, table, new_column)


def _indexed(each: Any, table: str, new_column: bool) -> Iterator[Impact]:
    if each.indexname:
        yield Impact(table=table, lock=ALWAYS)
        return
    is_exclusion = each.contype.name == "CONSTR_EXCLUSION"
    rule = "L015" if is_exclusion else "L009" if new_column else "L010"
    name = each.conname or "..."
    cure = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ...  -- atomic = False; then\n"
    cure += f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}"
    what = f"Adding the constraint {each.conname or ''} to {table}".replace("  ", " ")
    yield Impact(rule=rule, table=table, lock=ALWAYS, work=Work.BUILD, what=what, cure=cure)


def _foreign_key(each: Any, table: str, later: str) -> Iterator[Impact]:
    parent, at_once = name_of(each.pktable), not each.skip_validation
    lock = Lock.SHARE_ROW_EXCLUSIVE
    what = f"Adding a foreign key to {table}"
    yield Impact(
        rule="L011" if at_once else "",
        table=table,
        lock=lock,
        work=Work.CHECK_KEYS if at_once else Work.NONE,
        what=what,
        cure=later,
    )
    if parent != table:
        yield Impact(
            rule="L013",
            table=parent,
            lock=lock,
            what=f"{what} locks {parent}, which it points to.",
            cure=later if at_once else "",
        )


def _validated(name: str, table: str, world: World) -> Impact:
    known = world.facts.constraints.get((world.origin(table), name))
    if known is not None and known.is_valid:
        return Impact(table=table, lock=ONLINE)
    if proof := world.not_valid.pop(name, None):
        world.not_null.add(proof)
    work = Work.CHECK_KEYS if known is not None and known.kind == "f" else Work.SCAN
    return Impact(table=table, lock=ONLINE, work=work)


def _dropped(name: str, table: str, world: World) -> Iterator[Impact]:
    yield Impact(table=table, lock=ALWAYS)
    known = world.facts.constraints.get((world.origin(table), name))
    if known is not None and known.parent and known.parent != table:
        yield Impact(
            rule="L014",
            table=known.parent,
            lock=ALWAYS,
            what=f"Dropping the foreign key {name} of {table} locks {known.parent} too.",
            cure="Run it alone, in a migration of its own.",
        )


def _not_null(column: str, table: str, world: World) -> Iterator[Impact]:
    yield Impact(table=table, lock=ALWAYS)
    if not world.proves_not_null(table, column):
        yield Impact(
            rule="L003",
            table=table,
            lock=ALWAYS,
            work=Work.SCAN,
            what=f"Adding NOT NULL to {table}.{column}",
            cure=f"ALTER TABLE {table} ADD CONSTRAINT ... CHECK ({column} IS NOT NULL) NOT VALID  "
            f"-- then VALIDATE it in another migration, then SET NOT NULL",
        )


def _type(command: Any, table: str, world: World) -> Iterator[Impact]:
    yield Impact(table=table, lock=ALWAYS)
    column = (world.origin(table), command.name)
    old, new = world.facts.types.get(column, "unknown"), _type_name(command.def_.typeName)
    work = work_of_change(old, new)
    if work is Work.NONE and column in world.facts.checked:
        work = Work.SCAN
    if work is not Work.NONE:
        yield Impact(
            rule="L005",
            table=table,
            lock=ALWAYS,
            work=work,
            what=f"Changing {table}.{command.name} from {old} to {new}",
            cure="A new column, a trigger that fills it, Backfill(...), then a swap",
        )


def _type_name(node: Any) -> str:
    sizes = [each.val.ival for each in node.typmods or () if kind(each) == "A_Const"]
    arguments = f"({','.join(map(str, sizes))})" if sizes else ""
    return last_name(node.names) + arguments + ("[]" if node.arrayBounds else "")


def _partition(command: Any, table: str) -> Iterator[Impact]:
    part = name_of(command.def_.name)
    if command.subtype.name == "AT_AttachPartition":
        yield Impact(table=table, lock=ONLINE)
        yield Impact(
            rule="L017",
            table=part,
            lock=ALWAYS,
            work=Work.SCAN,
            what=f"Attaching the partition {part} to {table}",
            cure=f"ALTER TABLE {part} ADD CONSTRAINT ... CHECK (the bounds) NOT VALID  -- then "
            "VALIDATE it, then ATTACH PARTITION",
        )
    elif command.def_.concurrent:
        yield Impact(table=table, lock=ONLINE)
    else:
        yield Impact(table=part, lock=ALWAYS)
        yield Impact(
            rule="L017",
            table=table,
            lock=ALWAYS,
            what=f"Detaching the partition {part} locks {table}.",
            cure=f"ALTER TABLE {table} DETACH PARTITION {part} CONCURRENTLY  -- atomic = False",
        )
