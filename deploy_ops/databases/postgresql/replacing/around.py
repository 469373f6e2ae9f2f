"""What lives around the tables: triggers that must not fire, sequences, views, publications."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from deploy_ops.databases.postgresql.replacing.find import Table
from deploy_ops.databases.postgresql.server import Connection

# Each by itself, since each may be enabled in another way, in each partition too.
TRIGGERS = """
    WITH RECURSIVE family AS (
        SELECT unnest(%(oids)s::oid[]) AS oid
        UNION SELECT inhrelid FROM pg_inherits JOIN family ON family.oid = inhparent)
    SELECT nspname, relname, tgname, tgenabled::text FROM pg_trigger
    JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE tgrelid IN (SELECT oid FROM family) AND NOT tgisinternal AND tgenabled <> 'D'
    ORDER BY 1, 2, 3
"""
ENABLE = {"O": "ENABLE TRIGGER", "R": "ENABLE REPLICA TRIGGER", "A": "ENABLE ALWAYS TRIGGER"}
# Serial and identity columns own theirs.
SEQUENCES = """
    SELECT namespace.nspname, sequence.relname FROM pg_depend
    JOIN pg_class AS sequence ON sequence.oid = objid AND relkind = 'S'
    JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
        AND refobjid = ANY (%(oids)s::oid[]) AND deptype IN ('a', 'i') ORDER BY 1, 2
"""
POSITION = """
    SELECT last_value FROM pg_sequences
    WHERE schemaname = %s AND sequencename = %s AND NOT cycle AND last_value IS NOT NULL
"""
# One statement, and only ever forwards.
ADVANCE = """
    SELECT setval({name}::regclass, {then}, true) FROM pg_sequences
    WHERE schemaname = {schema} AND sequencename = {sequence}
        AND (last_value IS NULL OR sign(increment_by) * ({then} - last_value) > 0)
"""
VIEWS = """
    WITH RECURSIVE reader AS (
        SELECT unnest(%(oids)s::oid[]) AS oid
        UNION SELECT ev_class FROM pg_rewrite JOIN pg_depend ON objid = pg_rewrite.oid
            AND classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass
        JOIN reader ON reader.oid = refobjid)
    SELECT format('%%I.%%I', nspname, relname) FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'm' AND relispopulated AND pg_class.oid IN (SELECT oid FROM reader) ORDER BY 1
"""
PUBLICATIONS = """
    SELECT DISTINCT pubname FROM pg_publication_tables
    WHERE (schemaname, tablename) IN (SELECT nspname, relname FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE pg_class.oid = ANY (%(oids)s::oid[]))
    ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger that fires; `enabled` is pg_trigger.tgenabled."""

    schema: str
    table: str
    name: str
    enabled: str

    def alter(self, how: str) -> sql.Composed:
        """Statement that lets it fire in another way, or not at all."""
        return sql.SQL("ALTER TABLE ONLY {} {} {}").format(
            sql.Identifier(self.schema, self.table), sql.SQL(how), sql.Identifier(self.name)
        )

    def disable(self) -> sql.Composed:
        """Statement after which it does not fire."""
        return self.alter("DISABLE TRIGGER")

    def enable(self) -> sql.Composed:
        """Statement after which it fires as it did."""
        return self.alter(ENABLE[self.enabled])


def triggers_of(live: Connection, oids: Sequence[int]) -> list[Trigger]:
    """The triggers of people, not those of foreign keys."""
    return [Trigger(*row) for row in live.execute(TRIGGERS, {"oids": list(oids)}).fetchall()]


def advance_sequences(live: Connection, beside: Connection, oids: Sequence[int]) -> None:
    """Take sequences to where they were at the backup, unless they are further."""
    for schema, sequence in live.execute(SEQUENCES, {"oids": list(oids)}).fetchall():
        for (then,) in beside.execute(POSITION, [schema, sequence]).fetchall():
            name = sql.Identifier(schema, sequence).as_string(live)
            live.execute(
                sql.SQL(ADVANCE).format(
                    name=sql.Literal(name),
                    schema=sql.Literal(schema),
                    sequence=sql.Literal(sequence),
                    then=sql.Literal(then),
                )
            )


def notes(live: Connection, tables: Sequence[Table]) -> Iterator[str]:
    """What does not see this change as another one, and what holds the rows a second time."""
    oids = {"oids": [table.oid for table in tables]}
    if triggers := triggers_of(live, oids["oids"]):
        names = sorted({f"{each.name} of {each.table}" for each in triggers})
        yield f"Triggers do not fire: {', '.join(names)}."
    views = [name for (name,) in live.execute(VIEWS, oids).fetchall()]
    if views:
        refresh = "".join(f"\n    REFRESH MATERIALIZED VIEW {name};" for name in views)
        yield f"Materialized views show the rows of before until they are refreshed:{refresh}"
    for (name,) in live.execute(PUBLICATIONS, oids).fetchall():
        yield f"Publication {name} sends what is taken out and put back to its subscribers."
