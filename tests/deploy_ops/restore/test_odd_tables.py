"""Tables of every odd shape, put back or refused with the reason, on real PostgreSQL."""

import pytest

ODD = """
CREATE SCHEMA "Archive 1";
CREATE TABLE "Archive 1"."Order.Line" (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "Betrag €" numeric, doubled numeric GENERATED ALWAYS AS ("Betrag €" * 2) STORED, extra json);
INSERT INTO "Archive 1"."Order.Line" ("Betrag €", extra) VALUES (1.50, '{"b": 1}'), (2, NULL);
CREATE TABLE days (day date PRIMARY KEY, n integer) PARTITION BY RANGE (day);
CREATE TABLE days_2025 PARTITION OF days FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE days_2026 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO days VALUES ('2025-05-05', 1), ('2026-06-06', 2);
CREATE TABLE log (line text);
INSERT INTO log VALUES ('a'), ('a'), (NULL);
CREATE TABLE codes (id serial PRIMARY KEY, code varchar(20), gone text);
INSERT INTO codes (code, gone) VALUES ('long code', 'x'), ('short', 'y'), ('third', 'z');
CREATE TABLE uses (n integer, code_id integer REFERENCES codes ON DELETE SET NULL) PARTITION BY RANGE (n);
CREATE TABLE uses_1 PARTITION OF uses FOR VALUES FROM (0) TO (9);
INSERT INTO uses VALUES (1, 1), (2, 2), (3, NULL);
COMMENT ON CONSTRAINT uses_code_id_fkey ON uses IS 'it''s why';
CREATE TABLE fired (what text);
"""
TRIGGER = """
    CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO fired VALUES (TG_OP); RETURN NULL; END $$
"""
SINCE = """
CREATE TRIGGER a AFTER INSERT OR DELETE OR UPDATE ON codes FOR EACH ROW EXECUTE FUNCTION fire();
CREATE TRIGGER b AFTER INSERT ON codes FOR EACH ROW EXECUTE FUNCTION fire();
CREATE TRIGGER c AFTER INSERT ON codes FOR EACH ROW EXECUTE FUNCTION fire();
ALTER TABLE codes DISABLE TRIGGER b;
ALTER TABLE codes ENABLE ALWAYS TRIGGER c;
CREATE TRIGGER d AFTER INSERT OR DELETE ON days FOR EACH ROW EXECUTE FUNCTION fire();
ALTER TABLE codes DROP COLUMN gone;
ALTER TABLE codes ADD COLUMN since text DEFAULT 'new';
ALTER TABLE codes ALTER COLUMN code TYPE text;
UPDATE codes SET since = 'mine';
UPDATE codes SET code = 'changed' WHERE id = 2;
DELETE FROM codes WHERE id = 3;
UPDATE "Archive 1"."Order.Line" SET "Betrag €" = 1.5 WHERE id = 1;
DELETE FROM "Archive 1"."Order.Line" WHERE id = 2;
DELETE FROM days WHERE n = 1;
UPDATE days SET n = 3 WHERE n = 2;
DELETE FROM log WHERE line IS NULL;
CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM codes;
"""
KEYS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated,
        obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE contype = 'f' ORDER BY 1, 2
"""
TABLES = ['"Archive 1"."Order.Line"', "days", "public.log", "codes"]


def statements(database, script: str) -> None:
    for statement in script.split(";\n"):
        if statement.strip():
            database.execute(statement)


def restored(project, *words: str, code: int = 0):
    consent = ("--noinput", "--confirm", project.database.name)
    tables = [word for table in words for word in ("--table", table)]
    return project.run("restore", "latest", *tables, *consent, check=code)


def test_odd_tables_come_back_as_they_were(postgresql_project):
    database = postgresql_project.database
    statements(database, ODD)
    database.execute(TRIGGER)
    lines = database.query('SELECT * FROM "Archive 1"."Order.Line" ORDER BY id')
    postgresql_project.json("backup", check=0)
    statements(database, SINCE)
    database.execute("DELETE FROM fired")
    database.execute("ALTER SEQUENCE codes_id_seq RESTART WITH 1")
    triggers = "SELECT tgname, tgenabled, tgrelid::regclass::text FROM pg_trigger"
    triggers += " WHERE NOT tgisinternal ORDER BY 1, 3"
    before = database.query(triggers)
    keys = database.query(KEYS)

    told = restored(postgresql_project, *TABLES).stdout

    assert database.query('SELECT * FROM "Archive 1"."Order.Line" ORDER BY id') == lines
    assert [n for (n,) in database.query("SELECT n FROM days ORDER BY day")] == [1, 2]
    assert sorted(map(str, database.query("SELECT line FROM log"))) == [
        "('a',)",
        "('a',)",
        "(None,)",
    ]
    codes = database.query("SELECT id, code, since FROM codes ORDER BY id")
    assert codes == [(1, "long code", "mine"), (2, "short", "mine"), (3, "third", "new")]
    assert database.query("SELECT * FROM fired") == [] and database.query(triggers) == before
    assert database.query("SELECT nextval('codes_id_seq')") == [(4,)]
    assert database.query("SELECT code_id FROM uses ORDER BY n") == [(1,), (2,), (None,)]
    assert database.query(KEYS) == keys and "why" in str(keys)
    assert "the backup does not have since" in told and "gone of the backup is not in" in told
    assert "REFRESH MATERIALIZED VIEW public.seen;" in told and "no primary key" in told
    assert "Triggers do not fire: a of codes, c of codes, d of days" in told
    restored(postgresql_project, *TABLES)


REFUSED = {
    "days_2025": ("", "is a partition"),
    "codes": ("ALTER TABLE codes ALTER COLUMN code TYPE varchar(6) USING left(code, 6)", "codes"),
    "narrow": ("ALTER TABLE narrow ALTER COLUMN n TYPE date", "reads their values otherwise"),
    "parent": ("", "inherits"),
    "child": ("", "inherits"),
    "ruled": ("CREATE RULE r AS ON DELETE TO ruled DO INSTEAD NOTHING", "has rules"),
    "hidden": ("ALTER TABLE hidden FORCE ROW LEVEL SECURITY", "row level security"),
    "lobs": ("", "large objects"),
    "filled": ("ALTER TABLE filled ADD COLUMN must integer NOT NULL", "has no default"),
    "rekeyed": (
        "ALTER TABLE rekeyed DROP COLUMN id, ADD COLUMN k serial PRIMARY KEY",
        "primary key",
    ),
}
MORE = """
CREATE TABLE narrow (id integer PRIMARY KEY, n timestamp);
INSERT INTO narrow VALUES (1, '2026-01-01 10:00');
CREATE TABLE parent (id integer);
CREATE TABLE child () INHERITS (parent);
CREATE TABLE ruled (id integer PRIMARY KEY);
CREATE TABLE hidden (id integer PRIMARY KEY);
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
CREATE TABLE lobs (id integer PRIMARY KEY, file oid);
CREATE TABLE filled (id integer PRIMARY KEY);
CREATE TABLE rekeyed (id integer PRIMARY KEY, n integer);
"""


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_what_cannot_be_put_back_is_refused_with_the_reason(project):
    statements(project.database, ODD + MORE)
    project.json("backup", check=0)
    for change, _ in REFUSED.values():
        statements(project.database, change)
    dump = "SELECT query_to_xml('SELECT * FROM codes', false, false, '')::text"
    before = project.database.query(dump)

    for table, (_, reason) in REFUSED.items():
        refused = restored(project, table, code=1).stderr
        assert reason in refused and "Nothing was changed" in refused, table

    assert project.database.query(dump) == before
    assert project.database.databases() == [project.database.name]
    assert project.database.query("SELECT to_regnamespace('deploy_ops_kept')") == [(None,)]
