"""Tables that no release has used yet: of migrations that runs since the last release have applied.

A run that was cut off is gone on with, and what it made before that is as new as it was then.
"""

from deploy_ops.databases import database_for
from deploy_ops.history import last_run
from deploy_ops.migrate.history import History
from deploy_ops.migrate.lint.nobodys import tables_made
from deploy_ops.migrate.past import planned_since


def tables_since_release(alias: str, history: History) -> frozenset[str]:
    """Their names; none where it is not known which release was the last."""
    key = database_for(alias).identify().key
    if (run := last_run(key)) is None:
        return frozenset()
    done = planned_since(key, run) & history.executor.loader.applied_migrations.keys()
    return frozenset(
        table
        for app, name in done
        if (migration := history.by_key.get((app, name))) is not None
        for operation in migration.operations
        for table in tables_made(operation, app, history.state)
    )
