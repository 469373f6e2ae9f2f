"""Give each row a value for a column that is NULL, batch by batch."""

from dataclasses import dataclass

from deploy_ops.phases.backfill import Filling, Sql, fill
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.steps import Step


@dataclass(frozen=True, kw_only=True)
class FillNulls(Step):
    """Write `value`, SQL without parameters, where a column is NULL; new rows fill themselves."""

    column: str
    value: str
    key: tuple[str, ...]
    needs_no_transaction = True

    def is_done(self, change: Change) -> bool:
        """Whether the column cannot be NULL any more."""
        return self.catalog(change).is_not_null(self.column) is True

    def work(self, change: Change) -> None:
        """Go through the table by its primary key."""
        column = change.quote(self.column)
        where = f"{column} IS NULL"
        if change.editor.collect_sql:
            table = change.quote(self.table)
            change.execute(f"UPDATE {table} SET {column} = ({self.value}) WHERE {where}")
            return
        filling = Filling(
            table=self.table,
            key_columns=self.key,
            assignments={self.column: Sql(f"({self.value})".replace("%", "%%"))},
            where=Sql(where.replace("%", "%%")),
        )
        fill(change.connection, filling)
