"""What is wrong with the SQL of a RunSQL besides its locks."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterator
from typing import Any

from django.core import checks

from deploy_ops.migrate.lint.parsing import kind, last_name, name_of, statements_of, texts_of
from deploy_ops.migrate.lint.remark import Remark
from deploy_ops.migrate.lint.scene import World
from deploy_ops.migrate.lint.statements import is_read

ALONE = "Put it into a migration of its own:\n    atomic = False"
ENDS = {
    "TRANS_STMT_BEGIN": "BEGIN",
    "TRANS_STMT_START": "START TRANSACTION",
    "TRANS_STMT_COMMIT": "COMMIT",
    "TRANS_STMT_ROLLBACK": "ROLLBACK",
    "TRANS_STMT_PREPARE": "PREPARE TRANSACTION",
}


def sql_remarks(operation: Any, world: World, is_atomic: bool) -> Iterator[Remark]:
    """What could not be read, ends the transaction, cannot be in one, or loses data."""
    parsed = statements_of(operation.sql)
    if isinstance(parsed, Remark):
        yield parsed
        return
    shares_a_text = len(parsed) > len(list(texts_of(operation.sql)))
    for node in parsed:
        yield from _unread(node)
        if is_atomic:
            yield from _ends_transaction(node)
        if is_atomic or shares_a_text:
            yield from _needs_none(node)
        yield from _loses(node, world)


def _unread(node: Any) -> Iterator[Remark]:
    if kind(node) in ("DoStmt", "CallStmt") or not is_read(node):
        yield Remark(
            "L201",
            checks.WARNING,
            f"What {kind(node).removesuffix('Stmt').upper()} locks is not known: its body is not "
            "read.",
            "Look at it by hand, and allow this finding beside it with the reason.",
        )


def _ends_transaction(node: Any) -> Iterator[Remark]:
    word = ENDS.get(node.kind.name) if kind(node) == "TransactionStmt" else None
    if word:
        yield Remark(
            "L202",
            checks.ERROR,
            f"{word} ends or begins the transaction that Django runs the migration in: what comes "
            "after it is not undone if it fails.",
            ALONE,
        )


def _needs_none(node: Any) -> Iterator[Remark]:
    if word := _concurrent(node):
        yield Remark(
            "L206",
            checks.ERROR,
            f"{word} cannot run inside a transaction, and PostgreSQL runs several statements of "
            "one text in one: this fails.",
            ALONE + ", with one statement in each text of the list",
        )


def _concurrent(node: Any) -> str:
    """The words of a statement that PostgreSQL refuses in a transaction."""
    match kind(node):
        case "IndexStmt" | "DropStmt" if node.concurrent:
            return "An index that is built or dropped CONCURRENTLY"
        case "ReindexStmt" if any(each.defname == "concurrently" for each in node.params or ()):
            return "REINDEX CONCURRENTLY"
        case "VacuumStmt" if node.is_vacuumcmd:
            return "VACUUM"
        case "CreatedbStmt" | "DropdbStmt":
            return "CREATE DATABASE, like DROP DATABASE,"
        case "AlterTableStmt" if any(map(_detaches, node.cmds)):
            return "DETACH PARTITION CONCURRENTLY"
    return ""


def _detaches(command: Any) -> bool:
    return command.subtype.name == "AT_DetachPartition" and bool(command.def_.concurrent)


def _loses(node: Any, world: World) -> Iterator[Remark]:
    what = kind(node)
    if what == "TruncateStmt":
        for relation in node.relations:
            if not world.is_free(name_of(relation)):
                yield _loss(f"TRUNCATE removes every row of {name_of(relation)}")
    elif what == "DropdbStmt":
        yield _loss(f"DROP DATABASE removes {node.dbname}")
    elif what == "DropStmt" and node.removeType.name == "OBJECT_SCHEMA":
        for name in node.objects:
            word = last_name(name) if isinstance(name, tuple) else name.sval
            yield _loss(f"DROP SCHEMA removes {word} and what is in it")


def _loss(what: str) -> Remark:
    return Remark(
        "L205",
        checks.WARNING,
        f"{what}: only a backup brings it back, with all that was written since.",
        "Keep it for a release: rename it, and drop it in a later one.",
    )
