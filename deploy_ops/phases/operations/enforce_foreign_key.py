"""EnforceForeignKey: the constraint of a foreign key, validated while others write."""

from deploy_ops.phases.operations.after_backfill import AfterBackfill
from deploy_ops.phases.operations.alter_field_online import AlterFieldOnline


class EnforceForeignKey(AfterBackfill, AlterFieldOnline):
    """AlterField from `db_constraint=False` to a foreign key that the database enforces.

    An index that is new is built concurrently; the constraint is NOT VALID at first, then
    validated.
    """

    may_change = frozenset({"db_constraint", "db_index"})

    def enforced(self) -> set[str] | None:
        """The field."""
        return {self.name}
