"""Restores beside: everything comes back, what cannot work is refused before anything is touched."""

import re
from dataclasses import replace

import pytest

from deploy_ops.backup.methods import method_for
from deploy_ops.backup.methods.pg_dump.trial import TRIALS, refused
from deploy_ops.databases import database_for
from deploy_ops.databases.postgresql.server import server_of
from deploy_ops.errors import RestoreFailed, RestoreRefused
from deploy_ops.progress import Silent
from tests.deploy_ops.backup.portraits import furnish, portray, restore, save

postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
postgresql_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
postgresql_18 = pytest.mark.parametrize("database", ["pg18"], indirect=True)


@pytest.fixture
def method(django_alias):
    return method_for(django_alias)


@pytest.fixture
def live(django_alias):
    return database_for(django_alias)


@pytest.fixture
def saved(method, database, tmp_path):
    """A furnished database and its manifest; the dump is in `dump`."""
    furnish(database)
    return save(method, tmp_path / "dump")


@pytest.fixture
def as_role(database, django_alias):
    """Log in as another role for the rest of the test."""
    from django.db import connections

    def become(role: str) -> None:
        connections[django_alias].close()
        connections[django_alias].settings_dict["USER"] = role

    return become


def some_role(cluster, name: str, **options) -> str:
    if not cluster.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]):
        cluster.create_role(name, **options)
    return name


@postgresql
def test_everything_comes_back_field_by_field(method, live, database, saved, tmp_path):
    before = portray(database.cluster, database.name)

    name = restore(method, tmp_path / "dump", saved)

    restored = portray(database.cluster, name)
    assert restored.pop("analysed") == [(True,)]
    before.pop("analysed")
    for part in before:
        assert restored[part] == before[part], part
    assert restored.keys() == before.keys()
    assert live.count_rows(name) == (saved.counts, saved.sequences)


@postgresql
def test_a_swapped_database_is_the_saved_one(method, live, database, saved, tmp_path):
    before = portray(database.cluster, database.name)
    before.pop("analysed")
    database.execute("DROP TABLE trip CASCADE")
    name = restore(method, tmp_path / "dump", saved)
    previous = live.name_beside("before_restore_20260131T020000Z")

    live.swap(name, previous, before=lambda: None)

    after = portray(database.cluster, database.name)
    after.pop("analysed")
    assert after == before
    assert live.databases_beside() == [previous]


@postgresql
def test_properties_changed_since_the_backup_are_the_live_ones(method, database, saved, tmp_path):
    database.execute(f"ALTER DATABASE {database.name} CONNECTION LIMIT 31")

    name = restore(method, tmp_path / "dump", saved)

    query = "SELECT datconnlimit FROM pg_database WHERE datname = %s"
    assert database.cluster.execute(query, [name]) == [(31,)]


@postgresql_15  # the wheel's 18 is built without ICU
def test_an_icu_database_stays_one(method, pg15_cluster, tmp_path):
    locale(method, pg15_cluster, tmp_path, "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'")


@postgresql_18
def test_a_database_with_the_builtin_provider_stays_one(method, pg18_cluster, tmp_path):
    locale(method, pg18_cluster, tmp_path, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'")


@postgresql_15
def test_a_latin_database_stays_one(method, pg15_cluster, tmp_path):
    locale(method, pg15_cluster, tmp_path, "ENCODING 'LATIN1' LOCALE 'C'")


def locale(method, cluster, tmp_path, options: str) -> None:
    from django.db import connections

    source = database_for(method.alias).database_name + "_locale"
    cluster.execute(f"CREATE DATABASE {source} OWNER app TEMPLATE template0 {options}")
    connections[method.alias].settings_dict["NAME"] = source
    cluster.execute(
        "CREATE TABLE public.ort (name text); ALTER TABLE ort OWNER TO app", dbname=source
    )
    cluster.execute("INSERT INTO ort VALUES ('Köln')", dbname=source)
    manifest = save(method, tmp_path / "dump")

    name = restore(method, tmp_path / "dump", manifest)

    query = (
        "SELECT to_jsonb(d) - '{oid,datname,datfrozenxid,datminmxid}'::text[] FROM pg_database d"
    )
    live_row, restored_row = (
        cluster.execute(f"{query} WHERE datname = %s", [database]) for database in (source, name)
    )
    assert restored_row == live_row
    assert cluster.execute("SELECT name FROM ort", dbname=name) == [("Köln",)]


@postgresql_15
def test_to_a_newer_major_the_backup_fits_and_owners_are_left_out(
    method, live, database, saved, pg18_cluster, tmp_path
):
    target = elsewhere(pg18_cluster, method)
    said = []
    try:
        assert method.check_restore(saved, into="newcomer") == []
        listener = Silent()
        listener.say = said.append
        method.restore_beside(tmp_path / "dump", saved, name="newcomer", jobs=2, progress=listener)
        assert live.count_rows("newcomer") == (saved.counts, saved.sequences)
        assert any("roles there: app, reader" in line for line in said)
    finally:
        pg18_cluster.drop_databases("newcomer")
        pg18_cluster.drop_databases(target)


@postgresql_18
def test_to_an_older_major_is_refused(method, saved, pg15_cluster):
    target = elsewhere(pg15_cluster, method)
    try:
        [problem] = [p for p in method.check_restore(saved, into="newcomer") if "older" in p]
        assert problem.startswith("The backup is of PostgreSQL 18, the server is 15")
    finally:
        pg15_cluster.drop_databases(target)


def elsewhere(cluster, method) -> str:
    """Point the alias at a database of another cluster."""
    from django.db import connections

    cluster.create_database(name="elsewhere")
    settings = connections[method.alias].settings_dict
    settings["NAME"], settings["OPTIONS"] = "elsewhere", {"host": str(cluster.directory)}
    return "elsewhere"


@postgresql_15
def test_nothing_stands_in_the_way_of_an_ordinary_restore(method, saved):
    assert method.check_restore(saved) == []
    assert method.check_in_place(saved) == []


@postgresql_15
def test_a_backup_of_another_database_needs_into(method, saved):
    other = replace(saved, database=replace(saved.database, name="other"))

    [problem] = method.check_restore(other)

    assert "The backup is of database other" in problem and "--into NAME" in problem
    assert method.check_restore(other, into="newcomer") == []


@postgresql_15
def test_a_backup_of_another_server_needs_into(method, saved):
    other = replace(saved, database=replace(saved.database, system_identifier="1"))

    [problem] = method.check_restore(other)

    assert "The backup is of another server" in problem


@postgresql_15
def test_a_name_that_is_taken_is_refused(method, saved):
    [problem] = method.check_restore(saved, into="postgres")

    assert "Database postgres exists already" in problem


@postgresql_15
def test_a_backup_of_sqlite_is_refused(method, saved):
    sqlite = replace(saved, database=replace(saved.database, engine="sqlite"))

    [problem] = method.check_restore(sqlite)

    assert problem == "The backup is of sqlite, and the database is PostgreSQL."


@postgresql_15
def test_without_createdb_the_way_in_place_is_offered(method, database, saved, as_role):
    database.cluster.execute("ALTER ROLE app NOCREATEDB")
    try:
        [problem] = method.check_restore(saved)
        assert 'ALTER ROLE "app" CREATEDB;' in problem and "--in-place" in problem
        assert method.check_in_place(saved) == []
    finally:
        database.cluster.execute("ALTER ROLE app CREATEDB")


@postgresql_15
def test_prepared_transactions_and_slots_are_named(method, database, saved):
    slot = f"feed_{database.name}"
    create = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
    database.cluster.execute(create, [slot], dbname=database.name)
    with database.connect() as connection:
        connection.execute("BEGIN; CREATE TABLE later (id int); PREPARE TRANSACTION 'booked'")

    prepared, replication = method.check_restore(saved)

    assert "Prepared transaction booked" in prepared and "ROLLBACK PREPARED 'booked'" in prepared
    assert f"pg_drop_replication_slot('{slot}')" in replication


@postgresql_15
def test_a_subscription_is_named(method, database, saved):
    database.cluster.execute(
        "CREATE SUBSCRIPTION feed CONNECTION 'dbname=nowhere' PUBLICATION all_of_it"
        " WITH (connect = false)",
        dbname=database.name,
    )
    try:
        [problem] = method.check_restore(saved)
        assert 'DROP SUBSCRIPTION "feed";' in problem
    finally:
        for statement in (
            "ALTER SUBSCRIPTION feed SET (slot_name = NONE)",
            "DROP SUBSCRIPTION feed",
        ):
            database.cluster.execute(statement, dbname=database.name)


@postgresql_15
def test_a_role_that_is_gone_is_named(method, saved):
    saved.extra["roles"].append("left_the_company")

    [problem] = method.check_restore(saved)

    assert "do not exist on this server: left_the_company" in problem


@postgresql_15
def test_owners_we_cannot_give_back_are_named(method, database, saved):
    some_role(database.cluster, "accounting")
    saved.extra["owners"].append("accounting")

    [problem] = method.check_restore(saved)

    assert "belong to accounting" in problem and 'GRANT "accounting" TO "app";' in problem


@postgresql_15
def test_what_belongs_to_a_superuser_is_named_and_no_superuser_is_granted(method, saved):
    saved.extra["owners"].append("postgres")

    [problem] = method.check_restore(saved)

    assert "belong to postgres" in problem and "administrator's account" in problem
    assert "GRANT" not in problem


@postgresql
@pytest.mark.parametrize("granted", [True, False], ids=["granted", "not granted"])
def test_an_owner_that_may_not_create_in_the_schema_is_named(
    method, database, tmp_path, as_role, granted
):
    """pg_restore grants CREATE at its end, so that it is granted changes nothing."""
    cluster = database.cluster
    cluster.execute(f"GRANT {some_role(cluster, 'accounting')} TO app")
    database.execute("CREATE DOMAIN amount AS int; GRANT CREATE ON SCHEMA public TO accounting")
    database.execute("ALTER DOMAIN amount OWNER TO accounting")
    if not granted:
        database.execute("REVOKE CREATE ON SCHEMA public FROM accounting")
    manifest = save(method, tmp_path / "dump")
    try:
        [problem] = method.check_restore(manifest)
        assert "accounting in schema public" in problem
        with pytest.raises(RestoreFailed, match="permission denied for schema public"):
            restore(method, tmp_path / "dump", manifest)
        as_role("postgres")
        restore(method, tmp_path / "dump", manifest)
    finally:
        cluster.execute("REVOKE accounting FROM app")


@pytest.mark.parametrize(
    "database, how, is_ours",
    [
        ("pg15", "", True),
        ("pg18", " WITH SET TRUE, INHERIT FALSE", True),
        ("pg18", " WITH SET FALSE, INHERIT TRUE", False),
    ],
    indirect=["database"],
)
def test_giving_objects_back_needs_set_since_16_and_membership_before(
    method, database, saved, how, is_ours
):
    cluster = database.cluster
    cluster.execute(f"GRANT {some_role(cluster, 'accounting')} TO app{how}")
    saved.extra["owners"].append("accounting")
    try:
        assert (method.check_restore(saved) == []) is is_ours
    finally:
        cluster.execute("REVOKE accounting FROM app")


@postgresql
def test_a_member_without_the_rights_of_the_owner_may_not_rename(method, database, saved, as_role):
    cluster, name = database.cluster, database.name
    some_role(cluster, "deployer")
    is_new = cluster.major >= 16
    cluster.execute("ALTER ROLE deployer NOINHERIT")
    cluster.execute(f"GRANT app TO deployer{' WITH INHERIT FALSE' if is_new else ''}")
    cluster.execute(f"GRANT CONNECT ON DATABASE {name} TO deployer")
    as_role("deployer")
    try:
        problems = method.check_restore(saved)
    finally:
        cluster.execute("REVOKE app FROM deployer")
    assert f"{name} belongs to app, and this role does not have its rights" in "".join(problems)


@postgresql_15
def test_an_extension_that_the_server_has_not_is_named(method, saved):
    saved.extra["extensions"]["no_such_thing"] = "1.10"

    [problem] = method.check_restore(saved)

    assert "no_such_thing 1.10" in problem and "is not installed on the server" in problem


@postgresql_15
def test_an_untrusted_extension_is_tried_and_refused_in_place(method, database, saved, tmp_path):
    saved.extra["extensions"]["pg_stat_statements"] = "1.10"

    assert method.check_restore(saved) == []
    with pytest.raises(RestoreFailed, match="pg_stat_statements cannot be created: permission"):
        restore(method, tmp_path / "dump", saved)

    assert database.databases() == [database.name]
    [problem] = method.check_in_place(saved)
    assert "Extension pg_stat_statements can only be created by a superuser" in problem


@postgresql_15
def test_whatever_only_superusers_create_is_tried(method, saved, tmp_path, as_role):
    saved.extra["superuser_only"] += [[kind, "theirs"] for kind in TRIALS]

    with pytest.raises(RestoreFailed) as failed:
        restore(method, tmp_path / "dump", saved)

    said = str(failed.value)
    for kind in TRIALS:
        assert f"This role may not create what the backup has, {kind} theirs: " in said
    assert len(re.findall("permission denied|must be superuser|only superuser", said)) == len(
        TRIALS
    )
    as_role("postgres")
    with server_of(method.alias).connect("template1", application_name="test") as connection:
        assert [*refused(connection, saved)] == []


@postgresql_15
def test_settings_only_a_superuser_can_carry_over_are_named(method, database, saved):
    database.cluster.execute(f"ALTER DATABASE {database.name} SET log_statement TO 'all'")

    [problem] = method.check_restore(saved)

    assert "cannot be carried over" in problem and "log_statement" in problem


@postgresql_15
def test_a_session_in_the_way_is_named_unless_it_is_a_superusers(method, database, saved):
    some_role(database.cluster, "reporter")
    database.cluster.execute(f"GRANT CONNECT ON DATABASE {database.name} TO reporter")
    with database.cluster.connect(database.name, "reporter"):
        [problem] = method.check_restore(saved)
    assert "A session of role reporter is connected" in problem
    assert 'GRANT pg_signal_backend TO "app";' in problem

    with database.cluster.connect(database.name):
        assert method.check_restore(saved) == []  # the swap waits for it


@postgresql_15
def test_a_disk_too_small_is_told(method, database, saved, as_role):
    saved = replace(saved, database=replace(saved.database, size_bytes=10**15))
    as_role("postgres")  # may ask where the server keeps its data

    [problem] = method.check_restore(saved)

    assert "1200000000 MB" in problem and "MB free" in problem


@postgresql
@pytest.mark.parametrize("damage", ["data", "missing"])
def test_a_failed_restore_leaves_nothing(method, database, saved, tmp_path, damage):
    victim = max((tmp_path / "dump").glob("[0-9]*.dat.gz"), key=lambda path: path.stat().st_size)
    if damage == "data":
        content = victim.read_bytes()
        victim.write_bytes(content[: len(content) // 2])
    else:
        victim.unlink()
    before = portray(database.cluster, database.name)
    before.pop("analysed")  # by autovacuum, whenever it gets to it

    with pytest.raises(RestoreFailed, match="was dropped"):
        restore(method, tmp_path / "dump", saved)

    assert database.databases() == [database.name]
    after = portray(database.cluster, database.name)
    assert after.pop("analysed")
    assert after == before


@postgresql
def test_in_place_replaces_everything(method, database, saved, tmp_path):
    before = portray(database.cluster, database.name)
    before.pop("analysed")
    database.execute("CREATE TABLE newer (trip_id int REFERENCES trip)")
    database.execute("UPDATE trip SET purpose = 'changed' WHERE id < 100")
    database.execute("SELECT lo_unlink(4242), lo_create(5)")

    method.restore_in_place(tmp_path / "dump", saved, progress=Silent())

    after = portray(database.cluster, database.name)
    assert after.pop("analysed") == [(True,)]
    for part in before:
        assert after[part] == before[part], part


@pytest.fixture
def unrestorable(method, database, tmp_path):
    """A dump that is sound and fails late: its index needs a search_path that a restore has not."""
    with database.connect() as connection:
        connection.execute("CREATE TABLE factor (n int); INSERT INTO factor VALUES (3)")
        connection.execute(
            "CREATE FUNCTION scaled(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
            " 'BEGIN RETURN $1 * (SELECT n FROM factor); END'"
        )
        connection.execute("CREATE TABLE way AS SELECT i FROM generate_series(1, 500) AS i")
        connection.execute("CREATE INDEX way_scaled ON way (scaled(i))")
    return save(method, tmp_path / "dump")


@postgresql_15  # since 17, CREATE INDEX refuses such a function
def test_a_restore_that_fails_late_leaves_nothing(method, database, unrestorable, tmp_path):
    with pytest.raises(RestoreFailed, match='relation "factor" does not exist'):
        restore(method, tmp_path / "dump", unrestorable)

    assert database.databases() == [database.name]


@postgresql_15
def test_a_failed_restore_in_place_changes_nothing(method, database, unrestorable, tmp_path):
    database.execute("INSERT INTO way VALUES (1000)")

    with pytest.raises(RestoreFailed, match="rolled back"):
        method.restore_in_place(tmp_path / "dump", unrestorable, progress=Silent())

    assert database.query("SELECT count(*) FROM way") == [(501,)]


@postgresql_15
def test_the_live_database_is_never_dropped(live, database):
    for name in (database.name, "postgres", "template1"):
        with pytest.raises(RestoreRefused):
            live.drop(name)

    assert database.exists(database.name)


@postgresql_15
def test_names_beside_stay_within_63_bytes_and_apart(method, live, database):
    from django.db import connections

    settings = connections[method.alias].settings_dict
    names = []
    for name in ("t" * 63, "t" * 62 + "u", "ü" * 31):
        settings["NAME"] = name
        names.append(live.name_beside("before_restore_20260131T020000Z"))

    assert len(set(names)) == 3
    assert all(len(name.encode()) <= 63 for name in names)


@postgresql_15
def test_only_names_that_restores_give_are_beside(live, database):
    name = database.name
    mine = [f"{name}_failed_20260131T020000Z", f"{name}_before_restore_20260131T020001Z"]
    others = [f"{name}_before_restore", f"{name}_verify_me", f"{name}x_failed_20260131T020000Z"]
    for each in mine + others:
        database.cluster.execute(f'CREATE DATABASE "{each}" OWNER app')
    try:
        assert live.databases_beside() == mine
    finally:
        database.cluster.drop_databases(f"{name}x_failed_20260131T020000Z")
