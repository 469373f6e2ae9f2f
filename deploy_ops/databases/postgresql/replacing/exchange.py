"""The transaction that puts the rows of a backup back, and keeps those that it takes out.

Only rows that differ are written: those that go or change are copied to a kept table and deleted,
then those of the backup are inserted, so that no order of the rows meets a unique constraint on the
way. Readers go on, and see the rows of before until it is committed; writers wait.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from deploy_ops.databases.postgresql.replacing import around
from deploy_ops.databases.postgresql.replacing.keys import (
    ForeignKey,
    dangling,
    to_rebuild,
    without_keys,
)
from deploy_ops.databases.postgresql.replacing.shape import names
from deploy_ops.databases.postgresql.replacing.staging import Staged
from deploy_ops.databases.postgresql.schema import KEPT_SCHEMA
from deploy_ops.databases.postgresql.server import Connection, scalar
from deploy_ops.databases.rows import TableDifference, require_no_dangling, require_same_loss
from deploy_ops.errors import RestoreFailed

TRIES = 20
TRY_MS = 1000  # as long as others queue behind us at a stretch
PAUSE_SECONDS = 0.5
LOCK_WAIT_MS = 30_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """The tables, side by side with what the backup has for them, and their foreign keys."""

    live: Connection
    beside: Connection
    staged: Sequence[Staged]
    keys: Sequence[ForeignKey]
    shown: Sequence[TableDifference]

    @property
    def oids(self) -> list[int]:
        """Numbers of the tables."""
        return [each.shape.table.oid for each in self.staged]

    def run(self, kept: Mapping[str, str], *, is_agreed: bool) -> None:
        """Put the rows back, all or nothing; raises RestoreFailed."""
        for attempt in range(1, TRIES + 1):
            try:
                with self.live.transaction():
                    self._lock()
                    self._replace(kept, is_agreed)
                return
            except psycopg.errors.LockNotAvailable as error:
                if attempt == TRIES:
                    raise RestoreFailed(
                        f"Others have used the tables for so long that they could not be locked in "
                        f"{TRIES} tries of {TRY_MS / 1000:.0f} s. Nothing was changed. Restore "
                        "again when there is less going on."
                    ) from error
                time.sleep(PAUSE_SECONDS)

    def _lock(self) -> None:
        """Readers only wait where a foreign key has to be made again."""
        rebuilt = to_rebuild(self.keys, self.oids)
        mode = "ACCESS EXCLUSIVE" if rebuilt else "EXCLUSIVE"
        tables = [each.shape.table.sql for each in self.staged] + [k.child_sql for k in rebuilt]
        listed = ", ".join(sorted({name.as_string(self.live) for name in tables}))
        self._set("lock_timeout", TRY_MS)
        self.live.execute(f"LOCK TABLE {listed} IN {mode} MODE")
        self._set("lock_timeout", LOCK_WAIT_MS)

    def _set(self, name: str, milliseconds: int) -> None:
        self.live.execute("SELECT set_config(%s, %s, true)", [name, str(milliseconds)])

    def _replace(self, kept: Mapping[str, str], is_agreed: bool) -> None:
        now = [each.difference(self.live) for each in self.staged]
        require_same_loss(now, self.shown, is_agreed)
        found = dangling(self.live, self.keys, {each.shape.table.oid: each for each in self.staged})
        require_no_dangling(without_keys(found), [each.table for each in now])
        self._make_kept_schema()
        triggers = around.triggers_of(self.live, self.oids)
        rebuilt = to_rebuild(self.keys, self.oids)
        for statement in [each.disable() for each in triggers] + [key.drop() for key in rebuilt]:
            self.live.execute(statement)
        self.live.execute("SET CONSTRAINTS ALL DEFERRED")
        for each, difference in zip(self.staged, now, strict=True):
            self._take_out(each, difference, sql.SQL(kept[difference.table]))
        for each, difference in zip(self.staged, now, strict=True):
            self._put_back(each, difference, sql.SQL(kept[difference.table]))
        self.live.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in [each.enable() for each in triggers]:
            self.live.execute(statement)
        for key in rebuilt:
            for statement in key.add():
                self.live.execute(statement)
        around.advance_sequences(self.live, self.beside, self.oids)
        self._require_done()

    def _make_kept_schema(self) -> None:
        if scalar(self.live, "SELECT to_regnamespace(%s) IS NULL", [KEPT_SCHEMA]):
            self.live.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(KEPT_SCHEMA)))

    def _take_out(self, staged: Staged, difference: TableDifference, kept: sql.Composable) -> None:
        """Keep the rows that go or change, then delete them."""
        table = staged.shape.table.sql
        if not staged.shape.key:
            self.live.execute(
                sql.SQL("CREATE TABLE {} AS SELECT * FROM {} WHERE {}").format(
                    kept, table, sql.Literal(not difference.is_none)
                )
            )
            if not difference.is_none:
                self.live.execute(sql.SQL("DELETE FROM {}").format(table))
            return
        self.live.execute(
            sql.SQL(
                "CREATE TABLE {} AS SELECT live.* FROM {} AS live LEFT JOIN {} AS staged ON {}"
                " WHERE {} IS NULL OR {}"
            ).format(
                kept,
                table,
                staged.name,
                staged.same_key("live", "staged"),
                sql.Identifier("staged", staged.shape.key[0]),
                staged.differs,
            )
        )
        self.live.execute(
            sql.SQL("DELETE FROM {} AS live USING {} AS kept WHERE {}").format(
                table, kept, staged.same_key("live", "kept")
            )
        )

    def _put_back(self, staged: Staged, difference: TableDifference, kept: sql.Composable) -> None:
        """Insert the rows of the backup; a changed one keeps what columns since then have."""
        shape = staged.shape
        head = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS staged")
        shared = names(shape.shared)
        if not shape.key:
            if not difference.is_none:
                self.live.execute(head.format(shape.table.sql, shared, shared, staged.name))
            return
        if shape.added and difference.changed:
            columns = sql.SQL(", ").join([shared, names(shape.added)])
            values = sql.SQL(", ").join([names(shape.shared, "staged"), names(shape.added, "kept")])
            self.live.execute(
                sql.SQL("{} JOIN {} AS kept ON {}").format(
                    head.format(shape.table.sql, columns, values, staged.name),
                    kept,
                    staged.same_key("staged", "kept"),
                )
            )
        self.live.execute(
            sql.SQL("{} WHERE NOT EXISTS (SELECT FROM {} AS live WHERE {})").format(
                head.format(shape.table.sql, shared, shared, staged.name),
                shape.table.sql,
                staged.same_key("live", "staged"),
            )
        )

    def _require_done(self) -> None:
        """Before it is committed: the tables have the rows of the backup, to the byte."""
        left = [each.difference(self.live) for each in self.staged]
        if wrong := [each.table for each in left if not each.is_none]:
            raise RestoreFailed(
                f"The rows of {', '.join(wrong)} would not be those of the backup. Nothing was "
                "changed."
            )
