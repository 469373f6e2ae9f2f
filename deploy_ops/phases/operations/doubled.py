"""A column that is there twice for a while: what the copy holds that goes if the change is undone.

Both codes write, each its own column. What new code wrote and the column of old code cannot hold
(a time, of a date), or what was written past the triggers, is in the copy alone.
"""

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases import database_for
from deploy_ops.errors import RowsInTheWay
from deploy_ops.phases.operations.shadow import equal


@dataclass(frozen=True, slots=True)
class Doubled:
    """`copy` goes, `column` stays; `made` is SQL for what the copy is, made of the column."""

    table: str
    column: str
    copy: str
    made: str

    def __str__(self) -> str:
        return f"{self.table}.{self.copy} has values that {self.column} does not hold"

    def has_more(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether a row has a value in the copy that cannot be made of the column."""
        sql = f"SELECT 1 FROM {self._quoted(connection, self.table)}{self._where(connection)}"
        with connection.cursor() as cursor:
            cursor.execute(f"{sql} LIMIT 1")
            return cursor.fetchone() is not None

    def check(self, connection: BaseDatabaseWrapper) -> None:
        """Lock the table until the transaction ends; raise RowsInTheWay if the copy has more."""
        database_for(connection.alias).lock_tables([self.table])
        if not self.has_more(connection):
            return
        table, where = self._quoted(connection, self.table), self._where(connection)
        copy = self._quoted(connection, self.copy)
        raise RowsInTheWay(
            f"{self}, and undoing the change would drop them. It was not undone. See them in psql, "
            "and where they may go, give the copy what it would be without them:\n"
            f"    SELECT * FROM {table}{where};\n"
            f"    UPDATE {table} SET {copy} = {self.made}{where};"
        )

    def _where(self, connection: BaseDatabaseWrapper) -> str:
        return f" WHERE NOT ({equal(self._quoted(connection, self.copy), self.made)})"

    @staticmethod
    def _quoted(connection: BaseDatabaseWrapper, name: str) -> str:
        return connection.ops.quote_name(name)
