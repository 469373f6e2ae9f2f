"""What a statement of RunSQL does to tables."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Callable, Iterator
from typing import Any

from deploy_ops.migrate.lint.alter_table import alter_table, column_constraints
from deploy_ops.migrate.lint.impact import Impact, Lock, Work
from deploy_ops.migrate.lint.parsing import kind, last_name, name_of
from deploy_ops.migrate.lint.scene import World

ALWAYS = Lock.ACCESS_EXCLUSIVE
Reader = Callable[[Any, World], Iterator[Impact]]


def impacts_of_statement(node: Any, world: World) -> Iterator[Impact]:
    """What one parsed statement does."""
    if reader := READERS.get(kind(node)):
        yield from reader(node, world)


def is_read(node: Any) -> bool:
    """Whether it is known what the statement does to tables."""
    return kind(node) in READERS or kind(node) in HARMLESS


def _index(node: Any, world: World) -> Iterator[Impact]:
    del world
    table, name = name_of(node.relation), node.idxname or "on it"
    if node.concurrent:
        yield Impact(table=table, lock=Lock.SHARE_UPDATE_EXCLUSIVE, work=Work.BUILD)
        return
    word = "CREATE UNIQUE INDEX" if node.unique else "CREATE INDEX"
    yield Impact(
        rule="L010" if node.unique else "L001",
        table=table,
        lock=Lock.SHARE,
        work=Work.BUILD,
        what=f"Building the index {name} on {table}",
        cure=f"{word} CONCURRENTLY {name} ON {table} ...  -- in a migration with atomic = False",
    )


def _drop(node: Any, world: World) -> Iterator[Impact]:
    what = node.removeType.name
    for names in node.objects:
        if what == "OBJECT_INDEX":
            yield from _drop_index(node, last_name(names), world)
        elif what == "OBJECT_TABLE":
            yield from dropped_table(last_name(names), world)
        elif what in ("OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"):
            yield Impact(table=str(names[-2].sval), lock=ALWAYS)


def _drop_index(node: Any, name: str, world: World) -> Iterator[Impact]:
    table = world.facts.indexes.get(name)
    if table is None:
        return
    yield Impact(
        rule="" if node.concurrent else "L002",
        table=table,
        lock=Lock.SHARE_UPDATE_EXCLUSIVE if node.concurrent else ALWAYS,
        what=f"Dropping the index {name} locks {table}.",
        cure=f"DROP INDEX CONCURRENTLY {name}  -- in a migration with atomic = False",
    )


def dropped_table(table: str, world: World) -> Iterator[Impact]:
    """A dropped table, and those that its foreign keys point to."""
    yield Impact(table=table, lock=ALWAYS)
    for parent in world.facts.parents.get(world.origin(table), ()):
        yield Impact(
            rule="L014",
            table=parent,
            lock=ALWAYS,
            what=f"Dropping {table} drops its foreign key, which locks {parent} too.",
            cure=f"ALTER TABLE {table} DROP CONSTRAINT ...  -- alone, in a migration before",
        )


def _create(node: Any, world: World) -> Iterator[Impact]:
    table = name_of(node.relation)
    if node.relation.relpersistence == "t":
        return
    world.created.add(table)
    for parent in node.inhRelations or ():
        yield Impact(table=name_of(parent), lock=ALWAYS if node.partbound else Lock.NONE)
    for element in node.tableElts or ():
        constraints = [element] if kind(element) == "Constraint" else element.constraints or ()
        for impact in column_constraints(constraints, table, world):
            if impact.table != table:
                yield impact


def _create_as(node: Any, world: World) -> Iterator[Impact]:
    world.created.add(name_of(node.into.rel))
    return iter(())


def _rename(node: Any, world: World) -> Iterator[Impact]:
    if node.relation is None or node.renameType.name == "OBJECT_INDEX":
        return
    table = name_of(node.relation)
    yield Impact(table=table, lock=ALWAYS)
    if node.renameType.name == "OBJECT_TABLE":
        world.rename(table, node.newname)


def _write(node: Any, world: World) -> Iterator[Impact]:
    for query in node.withClause.ctes if node.withClause else ():
        yield from impacts_of_statement(query.ctequery, world)
    table = name_of(node.relation)
    verb = "DELETE FROM" if kind(node) == "DeleteStmt" else "UPDATE"
    some = ", or as many as its WHERE finds," if node.whereClause else ""
    yield Impact(
        rule="L203",
        table=table,
        lock=Lock.ROW_EXCLUSIVE,
        work=Work.UPDATE,
        what=f"One {verb} {table}{some}",
        cure="Backfill(...)  # commits batch by batch",
        is_bounded=node.whereClause is not None,
    )


def _insert(node: Any, world: World) -> Iterator[Impact]:
    for query in node.withClause.ctes if node.withClause else ():
        yield from impacts_of_statement(query.ctequery, world)
    yield Impact(table=name_of(node.relation), lock=Lock.ROW_EXCLUSIVE)


def _select(node: Any, world: World) -> Iterator[Impact]:
    for query in node.withClause.ctes if node.withClause else ():
        yield from impacts_of_statement(query.ctequery, world)


def _truncate(node: Any, world: World) -> Iterator[Impact]:
    del world
    for relation in node.relations:
        yield Impact(table=name_of(relation), lock=ALWAYS)


def _maintenance(table: str, lock: Lock, work: Work, what: str, cure: str) -> Impact:
    return Impact(rule="L016", table=table, lock=lock, work=work, what=what, cure=cure)


def _vacuum(node: Any, world: World) -> Iterator[Impact]:
    del world
    is_full = any(option.defname == "full" for option in node.options or ())
    for relation in node.rels or ():
        table = name_of(relation.relation)
        if is_full:
            what, cure = f"VACUUM FULL {table}", "pg_repack, or REPACK (CONCURRENTLY) from 19 on"
            yield _maintenance(table, ALWAYS, Work.REWRITE, what, cure)
        else:
            yield Impact(table=table, lock=Lock.SHARE_UPDATE_EXCLUSIVE)


def _cluster(node: Any, world: World) -> Iterator[Impact]:
    del world
    if node.relation is not None:
        table, cure = name_of(node.relation), "pg_repack, or REPACK (CONCURRENTLY) from 19 on"
        yield _maintenance(table, ALWAYS, Work.REWRITE, f"CLUSTER {table}", cure)


def _reindex(node: Any, world: World) -> Iterator[Impact]:
    if node.relation is None:
        return
    name = name_of(node.relation)
    table = world.facts.indexes.get(name, name)
    if any(option.defname == "concurrently" for option in node.params or ()):
        yield Impact(table=table, lock=Lock.SHARE_UPDATE_EXCLUSIVE)
        return
    cure = f"REINDEX ... CONCURRENTLY {name}  -- in a migration with atomic = False"
    yield _maintenance(table, Lock.SHARE, Work.BUILD, f"REINDEX of {name}", cure)


def _refresh(node: Any, world: World) -> Iterator[Impact]:
    del world
    table = name_of(node.relation)
    if node.concurrent:
        yield Impact(table=table, lock=Lock.EXCLUSIVE)
        return
    cure = f"REFRESH MATERIALIZED VIEW CONCURRENTLY {table}"
    yield _maintenance(table, ALWAYS, Work.REWRITE, f"REFRESH MATERIALIZED VIEW {table}", cure)


def _lock(node: Any, world: World) -> Iterator[Impact]:
    del world
    lock = Lock(node.mode)
    for relation in node.relations:
        table = name_of(relation)
        yield Impact(
            rule="L016" if lock >= Lock.SHARE else "",
            table=table,
            lock=lock,
            what=f"LOCK TABLE {table} keeps {lock.waiting} out until the transaction ends.",
            cure="Leave it out, or keep the transaction short.",
        )


def _trigger(node: Any, world: World) -> Iterator[Impact]:
    del world
    yield Impact(table=name_of(node.relation), lock=Lock.SHARE_ROW_EXCLUSIVE)


def _on_table(node: Any, world: World) -> Iterator[Impact]:
    del world
    yield Impact(table=name_of(getattr(node, "table", None) or node.relation), lock=ALWAYS)


def _comment(node: Any, world: World) -> Iterator[Impact]:
    del world
    names = {"OBJECT_TABLE": -1, "OBJECT_COLUMN": -2}
    if (place := names.get(node.objtype.name)) is not None:
        table = str(node.object[place].sval)
        yield Impact(table=table, lock=Lock.SHARE_UPDATE_EXCLUSIVE)


READERS: dict[str, Reader] = {
    "AlterTableStmt": alter_table,
    "ClusterStmt": _cluster,
    "CommentStmt": _comment,
    "CreatePolicyStmt": _on_table,
    "CreateStmt": _create,
    "CreateTableAsStmt": _create_as,
    "CreateTrigStmt": _trigger,
    "DeleteStmt": _write,
    "DropStmt": _drop,
    "IndexStmt": _index,
    "InsertStmt": _insert,
    "LockStmt": _lock,
    "RefreshMatViewStmt": _refresh,
    "ReindexStmt": _reindex,
    "RenameStmt": _rename,
    "RuleStmt": _on_table,
    "SelectStmt": _select,
    "TruncateStmt": _truncate,
    "UpdateStmt": _write,
    "VacuumStmt": _vacuum,
}
# What takes no lock that an application waits for, or has a rule of its own.
HARMLESS = frozenset(
    "AlterDomainStmt AlterEnumStmt AlterExtensionStmt AlterFunctionStmt AlterOwnerStmt"
    " AlterDefaultPrivilegesStmt AlterObjectSchemaStmt AlterRoleStmt AlterSeqStmt CompositeTypeStmt"
    " ConstraintsSetStmt CreateCastStmt CreateDomainStmt CreateEnumStmt CreateExtensionStmt"
    " CreateFunctionStmt CreateRoleStmt CreateSchemaStmt CreateSeqStmt CreateStatsStmt"
    " CreatedbStmt DefineStmt DropdbStmt ExplainStmt GrantRoleStmt GrantStmt NotifyStmt"
    " TransactionStmt VariableSetStmt VariableShowStmt ViewStmt".split()
)
