"""In place: whatever was there before, and wherever it lies, the database is the saved one."""

import re
import subprocess

import environ
import psycopg
import pytest

from deploy_ops.backup.methods import Unchanged, method_for
from deploy_ops.backup.methods.pg_dump import guards
from deploy_ops.databases import database_for
from deploy_ops.databases.postgresql.write_position import take_write_position
from deploy_ops.errors import RestoreFailed
from deploy_ops.progress import Silent
from tests.clusters import PostgresCluster
from tests.deploy_ops.backup.portraits import furnish, save

postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
postgresql_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)


@pytest.fixture
def method(django_alias):
    return method_for(django_alias)


@pytest.fixture
def live(django_alias):
    return database_for(django_alias)


@pytest.fixture
def as_superuser(method):
    from django.db import connections

    connections[method.alias].settings_dict["USER"] = "postgres"


OUTSIDE = """
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION unaccent SCHEMA archive;
CREATE FOREIGN DATA WRAPPER plain;
CREATE SERVER plain FOREIGN DATA WRAPPER plain OPTIONS (host 'nowhere');
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere');
CREATE USER MAPPING FOR app SERVER elsewhere OPTIONS (user 'x');
CREATE FOREIGN TABLE far (id int) SERVER elsewhere;
GRANT USAGE ON FOREIGN SERVER elsewhere TO app;
CREATE PUBLICATION feed FOR TABLE trip WITH (publish = 'insert');
CREATE PUBLICATION "all of it" FOR ALL TABLES;
CREATE PUBLICATION by_schema FOR TABLES IN SCHEMA archive;
CREATE CAST (text AS int) WITH INOUT;
CREATE FUNCTION mood_of(int) RETURNS mood LANGUAGE sql AS 'SELECT ''glad''::mood';
CREATE CAST (int AS mood) WITH FUNCTION mood_of(int) AS ASSIGNMENT;
CREATE FUNCTION handle() RETURNS language_handler LANGUAGE c
    AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE LANGUAGE mine HANDLER handle;
COMMENT ON LANGUAGE mine IS 'ours';
CREATE ACCESS METHOD heap_of_ours TYPE TABLE HANDLER heap_tableam_handler;
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch();
CREATE FUNCTION no_drops() RETURNS event_trigger LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''nothing is dropped here''; END';
CREATE EVENT TRIGGER no_drops ON sql_drop EXECUTE FUNCTION no_drops();
ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT INSERT ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT SELECT ON LARGE OBJECT 4242 TO reader;
COMMENT ON LARGE OBJECT 4243 IS 'a receipt';
CREATE TEXT SEARCH CONFIGURATION ours (COPY = simple);
CREATE COLLATION german (LOCALE = 'C');
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
ALTER TABLE person ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON person USING (true);
CREATE RULE silent AS ON DELETE TO "Odd Table" DO INSTEAD NOTHING;
"""
SINCE = """
DROP EVENT TRIGGER no_drops;
DROP PUBLICATION feed;
CREATE PUBLICATION later FOR TABLE person;
DROP CAST (text AS int);
CREATE CAST (int AS json) WITH INOUT;
CREATE LANGUAGE later HANDLER plpgsql_call_handler;
CREATE ACCESS METHOD later TYPE TABLE HANDLER heap_tableam_handler;
CREATE FOREIGN DATA WRAPPER later;
CREATE SERVER later FOREIGN DATA WRAPPER later;
DROP USER MAPPING FOR app SERVER elsewhere;
CREATE USER MAPPING FOR PUBLIC SERVER plain;
CREATE EXTENSION hstore;
DROP EXTENSION citext CASCADE;
CREATE SCHEMA later;
CREATE EXTENSION intarray SCHEMA later;
CREATE FUNCTION later.fire() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER later ON ddl_command_start EXECUTE FUNCTION later.fire();
CREATE TABLE later.newer (trip_id int REFERENCES public.trip);
ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE app REVOKE ALL ON TABLES FROM app;
ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT USAGE ON SCHEMAS TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE app REVOKE USAGE ON TYPES FROM PUBLIC;
SELECT lo_unlink(4242), lo_from_bytea(5, 'later');
REVOKE ALL ON LARGE OBJECT 4243 FROM app;
UPDATE trip SET purpose = 'changed';
"""


def dumped(database) -> str:
    """All that pg_dump says of the database, without what is random in it."""
    argv = [
        database.cluster.bindir / "pg_dump",
        "--dbname",
        database.cluster.url(database.name, "postgres"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", done.stdout)


@postgresql
def test_pg_dump_says_the_same_before_and_after(method, database, tmp_path, as_superuser):
    furnish(database)
    database.cluster.execute(OUTSIDE, dbname=database.name)
    before, manifest = dumped(database), save(method, tmp_path / "dump")
    database.cluster.execute(SINCE, dbname=database.name)
    assert method.check_in_place(manifest) == []

    method.restore_in_place(tmp_path / "dump", manifest, progress=Silent())

    assert dumped(database).splitlines() == before.splitlines()


@postgresql
def test_what_was_granted_by_default_since_is_not_readable(method, database, tmp_path):
    furnish(database)
    manifest = save(method, tmp_path / "dump")
    database.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader")

    method.restore_in_place(tmp_path / "dump", manifest, progress=Silent())

    query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384 AND"
    readable = f"{query} has_table_privilege('reader', oid, 'SELECT') ORDER BY 1"
    assert database.query(readable) == [("trip",)]


@postgresql
def test_a_dropped_public_stays_dropped_in_place(method, database, tmp_path):
    database.execute("DROP SCHEMA public; CREATE SCHEMA trips; CREATE TABLE trips.trip (id int)")
    manifest = save(method, tmp_path / "dump")
    database.execute("CREATE SCHEMA public")

    method.restore_in_place(tmp_path / "dump", manifest, progress=Silent())

    query = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1"
    assert database.query(query) == [("information_schema",), ("trips",)]


@postgresql
@pytest.mark.parametrize("wrong", ["counts", "large_objects"])
def test_what_is_not_as_it_was_saved_is_rolled_back(method, database, tmp_path, wrong):
    """With large objects too, around whose contents pg_restore would commit."""
    furnish(database)
    manifest = save(method, tmp_path / "dump")
    if wrong == "counts":
        manifest.counts["public.trip"] += 1
    else:
        manifest.extra["large_objects"] += 1
    database.execute("INSERT INTO trip (person_id, purpose, km) VALUES (1, 'since', 1)")
    database.execute("CREATE TABLE since (id int); SELECT lo_from_bytea(7, 'since')")
    before = dumped(database)

    with pytest.raises(RestoreFailed, match="everything was rolled back"):
        method.restore_in_place(tmp_path / "dump", manifest, progress=Silent())

    assert dumped(database) == before


@postgresql
@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO trip (person_id, purpose, km) VALUES (1, 'since', 1)",
        "UPDATE trip SET km = km + 1 WHERE id = (SELECT min(id) FROM trip)",
        "DELETE FROM trip",
        "TRUNCATE trip",
        "CREATE TABLE since (id int)",
        "DROP TABLE trip CASCADE",
        "SELECT lo_from_bytea(0, 'since')",
        "SELECT lo_put(oid, 0, 'changed') FROM pg_largeobject_metadata",
        "ALTER TABLE trip ADD COLUMN since text",
        "CREATE FUNCTION since() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_what_was_written_since_the_counting_stops_it_behind_the_locks(
    method, live, database, tmp_path, change
):
    """Asked in the transaction that drops, so that nothing falls between asking and dropping."""
    furnish(database)
    manifest = save(method, tmp_path / "dump")
    unchanged = Unchanged(live.count_rows(database.name)[0], live.write_position())
    database.execute(change)
    before = dumped(database)

    with pytest.raises(RestoreFailed, match="others may have written since"):
        method.restore_in_place(
            tmp_path / "dump", manifest, unless_changed=unchanged, progress=Silent()
        )

    assert dumped(database) == before


@postgresql
def test_what_was_written_before_the_counting_does_not_stop_it(method, live, database, tmp_path):
    furnish(database)
    manifest = save(method, tmp_path / "dump")
    database.execute("UPDATE trip SET purpose = 'changed'; CREATE TABLE since (id int)")
    unchanged = Unchanged(live.count_rows(database.name)[0], live.write_position())

    method.restore_in_place(
        tmp_path / "dump", manifest, unless_changed=unchanged, progress=Silent()
    )

    assert live.count_rows(database.name)[0] == manifest.counts


@postgresql
@pytest.mark.parametrize("how", ["COMMIT", "COMMIT PREPARED 'open'"])
def test_what_was_open_at_the_counting_and_is_committed_since_stops_it(
    method, live, database, tmp_path, how
):
    furnish(database)
    manifest = save(method, tmp_path / "dump")
    with database.connect() as other:
        other.execute("BEGIN; SAVEPOINT here; UPDATE trip SET km = km + 1")
        if "PREPARED" in how:
            other.execute("PREPARE TRANSACTION 'open'")
        unchanged = Unchanged(live.count_rows(database.name)[0], live.write_position())
        other.execute(how)

    unchanged.write_position["tables"] = live.write_position()["tables"]  # counted with a delay
    with pytest.raises(RestoreFailed, match="written since: public.trip"):
        method.restore_in_place(
            tmp_path / "dump", manifest, unless_changed=unchanged, progress=Silent()
        )


@postgresql_15
def test_what_is_open_in_another_database_does_not_stop_it(method, live, database, tmp_path):
    furnish(database)
    manifest = save(method, tmp_path / "dump")
    with database.cluster.connect() as other:
        other.execute("BEGIN; SELECT pg_current_xact_id()")
        database.execute("UPDATE trip SET km = km + 1")
        unchanged = Unchanged(live.count_rows(database.name)[0], live.write_position())
        method.restore_in_place(
            tmp_path / "dump", manifest, unless_changed=unchanged, progress=Silent()
        )


def test_rows_from_before_the_last_wraparound_are_not_taken_for_new_ones():
    """Frozen long ago, they have a number that is still to be given out again."""
    cluster = PostgresCluster(15).start()
    try:
        _continue_at(cluster, epoch=0, transaction=20_000)
        cluster.create_database(name="old")
        cluster.execute("CREATE TABLE trip AS SELECT 1 AS km", dbname="old")
        cluster.execute("VACUUM FREEZE", dbname="old")
        _continue_at(cluster, epoch=1, transaction=10_000)
        with cluster.connect("old") as connection:
            position = take_write_position(connection).as_json()
            guard = guards.change_guard(Unchanged({"public.trip": 1}, position))
            connection.execute(guard)
            connection.execute("UPDATE trip SET km = 2")
            with pytest.raises(psycopg.errors.RaiseException, match="others may have written"):
                connection.execute(guard)
    finally:
        cluster.stop()


def _continue_at(cluster, *, epoch: int, transaction: int) -> None:
    """Let the numbers of transactions go on from there."""
    data, options = cluster.directory / "data", {"check": True, "cwd": "/", **cluster._account}
    subprocess.run([cluster.bindir / "pg_ctl", "stop", "-D", data], **options)
    cluster._postmaster.wait()
    numbers = [f"--epoch={epoch}", f"--next-transaction-id={transaction}"]
    subprocess.run([cluster.bindir / "pg_resetwal", *numbers, data], **options)
    cluster._serve()


@postgresql_15
def test_what_others_own_is_named_before(method, database, tmp_path):
    manifest = save(method, tmp_path / "dump")
    cluster, name = database.cluster, database.name
    cluster.execute("CREATE SCHEMA theirs; CREATE EXTENSION pg_stat_statements", dbname=name)
    cluster.execute("SELECT lo_create(7)", dbname=name)
    cluster.execute("CREATE PUBLICATION feed FOR ALL TABLES", dbname=name)
    grant = "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO app"
    cluster.execute(grant, dbname=name)

    problems = method.check_in_place(manifest)

    assert [problem.split(",")[0] for problem in problems] == [
        "Publication feed belongs to postgres",
        "Extension pg_stat_statements belongs to postgres",
        "Schema theirs belongs to postgres",
        "The default privileges of role postgres are only its own to change",
        "1 large objects belong to other roles",
    ]
    assert all("DEPLOY_OPS_DIRECT_DATABASE_URL" in problem for problem in problems)


@postgresql_15
@pytest.mark.parametrize("setting", ["default_transaction_read_only = on", "array_nulls = off"])
def test_settings_of_the_live_database_do_not_break_it(method, database, tmp_path, setting):
    database.execute("CREATE TABLE trip AS SELECT ARRAY['x', NULL] AS tags")
    database.execute(f"ALTER DATABASE {database.name} SET {setting}")
    manifest = save(method, tmp_path / "dump")

    method.restore_in_place(tmp_path / "dump", manifest, progress=Silent())

    assert database.query("SELECT tags FROM trip") == [(["x", None],)]


@postgresql_15
def test_a_view_is_computed_with_the_settings_of_the_backup(method, live, database, tmp_path):
    database.execute(f"ALTER DATABASE {database.name} SET timezone TO 'Pacific/Auckland'")
    database.execute(
        "CREATE MATERIALIZED VIEW day AS SELECT '2026-01-01 12:00+00'::timestamptz::date"
    )
    manifest = save(method, tmp_path / "dump")
    database.execute(f"ALTER DATABASE {database.name} SET timezone TO 'UTC'")

    method.restore_in_place(tmp_path / "dump", manifest, progress=Silent())

    assert live.view_differences(database.name, manifest.extra["materialized_views"]) == []


FEW_LOCKS = """
fsync = off
max_connections = 20
max_worker_processes = 2
max_wal_senders = 0
shared_buffers = 16MB
max_locks_per_transaction = {number}
"""


def test_more_objects_than_locks_are_told_with_the_number_that_is_needed(
    tmp_path, django_db_blocker
):
    """900 tables with their keys and sequences; the number that is told is enough."""
    needed = []
    for number, who in ((10, "A dump"), (200, "A restore in place")):
        [problem] = in_a_cluster(number, tmp_path / who, django_db_blocker)
        assert problem.startswith(f"{who} locks about")
        needed.append(int(re.search(r"max_locks_per_transaction = (\d+)", problem)[1]))

    assert needed[0] <= 200 < needed[1]
    assert in_a_cluster(needed[1], tmp_path / "enough", django_db_blocker) == []


def in_a_cluster(locks: int, directory, django_db_blocker) -> list[str]:
    """Save 900 tables there and restore them in place; what stands in the way."""
    from django.db import connections

    cluster = PostgresCluster(15, settings=FEW_LOCKS.format(number=locks)).start()
    alias = "locks"
    try:
        url = cluster.create_database(name="many")
        connections.databases[alias] = connections.configure_settings(
            {"default": {}, alias: environ.Env.db_url_config(url)}
        )[alias]
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(900):
                connection.execute(
                    f"CREATE TABLE t{number} (id serial PRIMARY KEY, name text UNIQUE DEFAULT 'x')"
                )
        with django_db_blocker.unblock():
            method = method_for(alias)
            if problems := method.check_backup():
                return problems
            manifest = save(method, directory)
            if not (problems := method.check_in_place(manifest)):
                method.restore_in_place(directory, manifest, progress=Silent())
            return problems
    finally:
        if hasattr(connections._connections, alias):
            connections[alias].close()
            del connections[alias]
        del connections.databases[alias]
        cluster.stop()
