"""IndexFieldOnline: `db_index=True` on a field that is there, built while others write."""

from deploy_ops.phases.operations.alter_field_online import AlterFieldOnline


class IndexFieldOnline(AlterFieldOnline):
    """AlterField to `db_index=True` by CREATE INDEX CONCURRENTLY; a text's index for LIKE too."""

    may_change = frozenset({"db_index"})
