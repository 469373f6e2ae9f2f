"""Invalid indexes that a failed CREATE INDEX CONCURRENTLY leaves behind."""

import re

from deploy_ops.migrate.apply import Run

INVALID = re.compile(r"\+ index ([^\s.]+)\.(\S+) valid=f ")
BEING_BUILT = """
    SELECT EXISTS (SELECT 1 FROM pg_stat_progress_create_index AS build
                   WHERE build.index_relid = to_regclass(%s))
"""


def drop_invalid_indexes(run: Run, difference: list[str]) -> bool:
    """Drop them if they are all that differs from the schema before; say whether it was done.

    An invalid index may be one that somebody is building right now; dropping that one would make
    the build report success without an index.
    """
    found = [INVALID.match(line) for line in difference]
    if not found or not all(found):
        return False
    names = [match.groups() for match in found if match]
    with run.connection.cursor() as cursor:
        for schema, name in names:
            quoted = ".".join(map(run.connection.ops.quote_name, (schema, name)))
            cursor.execute(BEING_BUILT, [quoted])
            if cursor.fetchone()[0]:
                return False
            run.journal.record("leftover_dropped", index=quoted)
            cursor.execute(f"DROP INDEX CONCURRENTLY {quoted}")
            run.progress.say(f"Dropped the invalid index {quoted} that the failed build left")
    return True
