"""Settings of the database: what is computed at a restore is computed with those of the backup."""

import json

import pytest
from psycopg import sql

from deploy_ops.backup.methods import method_for
from deploy_ops.databases import database_for
from deploy_ops.databases.postgresql import materialized_views
from deploy_ops.errors import RestoreFailed
from deploy_ops.progress import Silent
from tests.deploy_ops.backup.portraits import restore, save

postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
postgresql_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
DAYS = "SELECT day, trips FROM daily ORDER BY day"


@pytest.fixture
def method(django_alias):
    return method_for(django_alias)


@pytest.fixture
def live(django_alias):
    return database_for(django_alias)


def set_for(database, setting: str, value: str, who: str = "DATABASE") -> None:
    if "." in setting:  # since 15, a parameter that no module defines is only a superuser's
        database.cluster.execute(f"GRANT SET ON PARAMETER {setting} TO app")
    statement = sql.SQL(f"ALTER {who} {{}} SET {setting} TO {{}}")
    database.execute(statement.format(sql.Identifier(database.name), sql.Literal(value)))


@pytest.fixture
def daily(database):
    """Trips around midnight, counted by the day of the database's own time zone."""
    set_for(database, "timezone", "Pacific/Auckland")
    database.execute(
        "CREATE TABLE trip AS SELECT '2026-01-01 09:00+00'::timestamptz + i * interval '1 hour' AS"
        " at FROM generate_series(0, 5) AS i"
    )
    database.execute(
        "CREATE MATERIALIZED VIEW daily AS SELECT at::date AS day, count(*) AS trips FROM trip"
        " GROUP BY 1"
    )
    return database


@postgresql
def test_a_view_by_the_day_comes_back_with_its_rows(method, live, daily, tmp_path):
    before = daily.query(DAYS)
    manifest = save(method, tmp_path / "dump")

    name = restore(method, tmp_path / "dump", manifest)

    assert daily.beside(name).query(DAYS) == before
    assert live.view_differences(name, manifest.extra["materialized_views"]) == []


@postgresql
@pytest.mark.parametrize("who", ["DATABASE", "ROLE app IN DATABASE"])
def test_what_depends_on_a_setting_without_a_default_is_restored(method, database, tmp_path, who):
    set_for(database, "app.tenant", "north, and 'south'", who)
    database.execute("CREATE TABLE trip (tenant text DEFAULT current_setting('app.tenant'))")
    database.execute("INSERT INTO trip DEFAULT VALUES")
    database.execute(
        "CREATE MATERIALIZED VIEW mine AS SELECT * FROM trip"
        " WHERE tenant = current_setting('app.tenant')"
    )
    manifest = save(method, tmp_path / "dump")

    restored = database.beside(restore(method, tmp_path / "dump", manifest))

    assert restored.query("SELECT tenant FROM mine") == [("north, and 'south'",)]
    restored.execute("INSERT INTO trip DEFAULT VALUES")


@postgresql
def test_loading_uses_the_backups_settings_and_leaves_the_live_ones(method, daily, tmp_path):
    before = daily.query(DAYS)
    manifest = save(method, tmp_path / "dump")
    set_for(daily, "timezone", "UTC")
    set_for(daily, "app.later", "1")

    name = restore(method, tmp_path / "dump", manifest)

    assert daily.beside(name).query(DAYS) == before
    assert daily.beside(name).query("SHOW timezone") == [("UTC",)]
    assert daily.beside(name).query("SHOW app.later") == [("1",)]


BREAKING = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "array_nulls": "off",
    "idle_session_timeout": "300ms",
    "statement_timeout": "300ms",
    "lock_timeout": "300ms",
    "idle_in_transaction_session_timeout": "300ms",
    "row_security": "off",
    "search_path": "nowhere",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "quote_all_identifiers": "on",
    "transform_null_equals": "on",
    "standard_conforming_strings": "off",
    "xmloption": "document",
    "check_function_bodies": "on",
    "client_min_messages": "error",
    "client_encoding": "LATIN1",
    "role": "app",
    "default_table_access_method": "heap",
    "default_tablespace": "pg_default",
    "plpgsql.extra_errors": "all",
    "session_replication_role": "replica",
    "event_triggers": "off",
    "transaction_timeout": "300ms",
}
CONTENTS = "SELECT id, a, i, d, f, b, t, n FROM public.odd ORDER BY id"


@pytest.fixture
def odd(database):
    """Values whose text depends on settings, or is read otherwise under some."""
    database.execute(
        "CREATE TABLE public.odd (id serial PRIMARY KEY, a text[], i interval, d timestamptz,"
        " f float8, b bytea, t text, n int[])"
    )
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO odd (a, i, d, f, b, t, n) VALUES (ARRAY['x', NULL, 'NULL'],"
            " '-1 year 2 mons -3 days +04:05:06', '2026-02-01 13:14:15.16+02',"
            " 0.1::float8 + 0.2, '\\x005cff', %s, ARRAY[1, NULL])",
            ['K\xe4se \\ "x"'],
        )
    database.execute("CREATE VIEW public.both AS SELECT * FROM odd WHERE t = NULL OR f > 0.1")
    database.execute(
        "CREATE FUNCTION public.tell() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'ab' $$"
    )
    database.execute("CREATE MATERIALIZED VIEW public.told AS SELECT public.tell(), i FROM odd")
    return database


@postgresql
@pytest.mark.parametrize("setting", BREAKING)
def test_no_setting_breaks_or_changes_a_restore(method, live, odd, tmp_path, setting):
    from django.db import connections

    if setting in ("event_triggers", "transaction_timeout") and odd.cluster.major < 17:
        pytest.skip("not known to this server")
    if setting in ("role", "session_replication_role", "event_triggers", "plpgsql.extra_errors"):
        connections[method.alias].settings_dict["USER"] = "postgres"
    with odd.cluster.connect(odd.name) as plain:
        before = plain.execute(CONTENTS).fetchall()
        value = sql.Literal(BREAKING[setting])
        statement = sql.SQL(f"ALTER DATABASE {{}} SET {setting} TO {{}}")
        plain.execute(statement.format(sql.Identifier(odd.name), value))

        manifest = save(method, tmp_path / "dump")
        name = restore(method, tmp_path / "dump", manifest)

        assert live.count_rows(name)[0] == manifest.counts
        assert live.view_differences(name, manifest.extra["materialized_views"]) == []
        odd.cluster.execute(f'ALTER DATABASE "{name}" RESET ALL')
        with odd.cluster.connect(name) as restored:
            assert restored.execute(CONTENTS).fetchall() == before
            definition = "SELECT pg_get_viewdef('public.both'::regclass)"
            if setting != "transform_null_equals":
                assert restored.execute(definition).fetchall() == (
                    plain.execute(definition).fetchall()
                )
        if setting == "default_transaction_read_only":
            odd.cluster.execute(f'ALTER DATABASE "{odd.name}" RESET ALL')


@postgresql_15
def test_a_setting_this_role_may_not_set_is_told_and_its_effect_compared(
    method, live, odd, tmp_path
):
    odd.cluster.execute(f"ALTER DATABASE {odd.name} SET log_statement TO 'ddl'")
    manifest = save(method, tmp_path / "dump")
    odd.cluster.execute(f"ALTER DATABASE {odd.name} RESET log_statement")
    said, listener = [], Silent()
    listener.say = said.append

    method.restore_beside(
        tmp_path / "dump",
        manifest,
        name=live.name_beside("restoring_20260131T020000Z"),
        jobs=1,
        progress=listener,
    )

    assert any("Loading without" in line and "log_statement" in line for line in said)


@postgresql
def test_a_view_that_was_not_refreshed_is_told(method, live, daily, tmp_path):
    daily.execute("INSERT INTO trip VALUES ('2026-05-01 00:00+00')")
    daily.execute('CREATE MATERIALIZED VIEW "r, of" AS SELECT 1 AS r, at FROM trip')
    daily.execute("UPDATE trip SET at = at + interval '1 day' WHERE at > '2026-04-01'")
    manifest = save(method, tmp_path / "dump")

    name = restore(method, tmp_path / "dump", manifest)

    stale, of = live.view_differences(name, manifest.extra["materialized_views"])
    assert "public.daily has other rows than at the backup (2 then, 3 now)" in stale
    assert "public.r, of has other rows than at the backup (7 then, 7 now)" in of


@postgresql_15
def test_a_view_being_refreshed_is_left_out(method, daily):
    with daily.connect() as refreshing, refreshing.transaction():
        refreshing.execute("REFRESH MATERIALIZED VIEW daily")
        with daily.connect() as connection, connection.transaction():
            assert materialized_views.digests_of(connection) == {}
            assert connection.execute("SELECT count(*) FROM trip").fetchall() == [(6,)]


@postgresql_15
def test_a_view_that_others_own_does_not_stop_a_backup(method, database, tmp_path):
    name = database.name
    database.cluster.execute("CREATE MATERIALIZED VIEW public.theirs AS SELECT 1", dbname=name)

    assert save(method, tmp_path / "dump").extra["materialized_views"] == {}


@postgresql_15
def test_people_and_programs_are_told_of_a_view_that_differs(project):
    project.database.execute("CREATE TABLE trip (id int)")
    project.database.execute("CREATE MATERIALIZED VIEW number AS SELECT count(*) FROM trip")
    project.database.execute("INSERT INTO trip VALUES (1)")
    backup = project.json("backup", check=0)["backup"]

    verified = project.run("backups", "verify", backup, "--level", "restore", check=0)
    restored = project.run(
        "restore", backup, "--into", f"{project.database.name}_look", "--format", "json", check=0
    )

    [sentence] = restored.json()["view_differences"]
    assert "public.number has other rows than at the backup (1 then, 1 now)" in sentence
    assert sentence in restored.stderr and sentence in verified.stdout + verified.stderr
    manifest = next(project.backups_dir.glob("*/manifest.json"))
    assert list(json.loads(manifest.read_text())["extra"]["materialized_views"]) == [
        "public.number"
    ]


@postgresql
@pytest.mark.parametrize("again", [False, True], ids=["dropped", "made again"])
def test_a_dropped_public_stays_dropped(method, database, tmp_path, again):
    database.execute("DROP SCHEMA public")
    database.execute("CREATE SCHEMA trips; CREATE TABLE trips.trip (id int)")
    if again:
        database.execute("CREATE SCHEMA public")
    query = (
        "SELECT nspname, coalesce(nspacl, acldefault('n', nspowner))::text FROM pg_namespace"
        " WHERE nspname !~ '^pg_' ORDER BY 1"
    )
    before = database.query(query)
    manifest = save(method, tmp_path / "dump")

    name = restore(method, tmp_path / "dump", manifest)

    assert database.beside(name).query(query) == before


@postgresql_15
def test_large_objects_that_are_missing_fail_a_restore(method, database, tmp_path):
    database.execute("SELECT lo_from_bytea(42, 'receipt')")
    manifest = save(method, tmp_path / "dump")
    manifest.extra["large_objects"] = 2

    with pytest.raises(RestoreFailed, match="has 1 large objects, and the backup 2"):
        restore(method, tmp_path / "dump", manifest)

    assert database.databases() == [database.name]
