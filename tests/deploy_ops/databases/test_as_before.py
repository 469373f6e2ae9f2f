"""As before: what people change that a look at tables and columns does not show.

Each statement is done once. The catalogs must differ afterwards ("nothing happened" is not said),
and the schema must, unless the statement is about contents or positions, which no schema has.
"""

import pytest

from deploy_ops.databases import database_for
from deploy_ops.migrate.leftovers import Before, look_at_leftovers

FURNITURE = """
CREATE SCHEMA office;
CREATE TABLE trip (id int PRIMARY KEY, purpose text, km int) WITH (fillfactor = 90);
CREATE TABLE receipt (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE receipt_2025 PARTITION OF receipt FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE FUNCTION fee(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
CREATE TRIGGER stamped BEFORE INSERT ON trip FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE POLICY own ON trip USING (id = 1);
ALTER TABLE trip ENABLE ROW LEVEL SECURITY;
CREATE SEQUENCE invoice;
CREATE DOMAIN distance AS int;
CREATE TYPE place AS (city text);
CREATE TYPE state AS ENUM ('new', 'paid');
CREATE MATERIALIZED VIEW total AS SELECT count(*) FROM trip;
CREATE VIEW near AS SELECT id FROM trip;
CREATE STATISTICS spread ON id, purpose FROM trip;
INSERT INTO trip VALUES (1, 'x', 3)
"""
SCHEMA = [
    "ALTER TABLE trip DISABLE TRIGGER stamped",
    "ALTER POLICY own ON trip USING (id = 2)",
    "ALTER TABLE trip FORCE ROW LEVEL SECURITY",
    "ALTER FUNCTION fee(int) SECURITY DEFINER",
    "ALTER FUNCTION fee(int) IMMUTABLE",
    "CREATE OR REPLACE FUNCTION fee(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 3'",
    "GRANT SELECT ON trip TO PUBLIC",
    "GRANT UPDATE (km) ON trip TO PUBLIC",
    "REVOKE EXECUTE ON FUNCTION fee(int) FROM PUBLIC",
    "ALTER TABLE trip OWNER TO reader",
    "ALTER TABLE trip REPLICA IDENTITY FULL",
    "ALTER SEQUENCE invoice INCREMENT 5",
    "ALTER SEQUENCE invoice OWNED BY trip.id",
    "ALTER TABLE receipt DETACH PARTITION receipt_2025",
    "CREATE RULE silent AS ON DELETE TO trip DO INSTEAD NOTHING",
    "CREATE SCHEMA archive",
    "ALTER SCHEMA office RENAME TO bureau",
    "ALTER DOMAIN distance ADD CHECK (value > 0)",
    "ALTER TYPE place ADD ATTRIBUTE street text",
    "ALTER TYPE state ADD VALUE 'void'",
    "CREATE PUBLICATION changes FOR TABLE trip",
    "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()",
    "ALTER TABLE trip SET (fillfactor = 70)",
    "ALTER TABLE trip SET (autovacuum_enabled = false)",
    "ALTER TABLE trip ALTER purpose SET STORAGE EXTERNAL",
    "ALTER TABLE trip ALTER purpose SET COMPRESSION pglz",
    "ALTER TABLE trip ALTER km SET STATISTICS 7",
    "ALTER TABLE trip ALTER km SET DEFAULT 4",
    'ALTER TABLE trip ALTER purpose TYPE text COLLATE "C"',
    "COMMENT ON COLUMN trip.km IS 'distance'",
    "COMMENT ON FUNCTION fee(int) IS 'double'",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER STATISTICS spread SET STATISTICS 5",
    "DROP STATISTICS spread",
    "ALTER VIEW near SET (security_barrier = true)",
    "CREATE CAST (place AS text) WITH INOUT",
    "ALTER TABLE trip CLUSTER ON trip_pkey",
    "ALTER TABLE trip SET UNLOGGED",
    "ALTER INDEX trip_pkey RENAME TO trip_key",
    "CREATE EXTENSION citext",
]
CONTENTS = [
    "ALTER SEQUENCE invoice RESTART WITH 50",
    "SELECT nextval('invoice')",
    "REFRESH MATERIALIZED VIEW total",
    "TRUNCATE trip",
    "DELETE FROM trip",
]


@pytest.fixture
def furnished(database, django_alias):
    database.execute(FURNITURE)
    database.cluster.execute(
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        dbname=database.name,
    )
    if not database.cluster.execute("SELECT 1 FROM pg_roles WHERE rolname = 'reader'"):
        database.cluster.create_role("reader")
    database.cluster.execute("GRANT reader TO app")
    return database_for(django_alias)


def change(database, statement):
    database.cluster.execute(statement, dbname=database.name)


# On 18 a share of them: what they are seen by is the same SQL and another pg_dump.
@pytest.mark.parametrize(
    ("database", "statement"),
    [("pg15", each) for each in (*SCHEMA, *CONTENTS)]
    + [("pg18", each) for each in (*SCHEMA[::4], *CONTENTS)],
    indirect=["database"],
)
def test_a_change_is_seen(furnished, database, statement):
    before = furnished.schema()
    noted = Before(None, furnished.write_position(), furnished.catalog_digests())
    assert look_at_leftovers(furnished, noted).left_nothing

    change(database, statement)

    assert not look_at_leftovers(furnished, noted).left_nothing
    after = furnished.schema()
    assert bool(after.difference(before)) == (statement in SCHEMA)
    without = after.without_casts().difference(before.without_casts())
    assert bool(without) == (statement in SCHEMA)
