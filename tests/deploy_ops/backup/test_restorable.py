"""What the role of backups could not restore is said with the backup, and by a check (B001 to B007).

Each object is one that an administrator may have put into the application's database.
"""

import pytest

from deploy_ops.backup.restorable import check_restorable

pg15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
BY_SUPERUSER = """
    CREATE EXTENSION postgres_fdw;
    CREATE DOMAIN public.amount AS int;
    ALTER DOMAIN public.amount OWNER TO accounts;
    CREATE SCHEMA theirs AUTHORIZATION accounts;
    CREATE DOMAIN theirs.amount AS int;
    ALTER DOMAIN theirs.amount OWNER TO accounts;
    SELECT lo_create(77);
    GRANT SELECT ON LARGE OBJECT 77 TO app;
    CREATE COLLATION public.german (locale = 'C');
    CREATE FOREIGN DATA WRAPPER theirs;
    CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    ALTER FUNCTION public.watch() OWNER TO app;
    CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.watch();
    CREATE PUBLICATION everything FOR ALL TABLES;
    CREATE PUBLICATION partly FOR TABLES IN SCHEMA public;
    CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
    ALTER SERVER far OWNER TO app;
    CREATE USER MAPPING FOR app SERVER far OPTIONS (password 'geheim-eigenes');
    CREATE USER MAPPING FOR accounts SERVER far OPTIONS (password 'geheim-fremdes');
    CREATE SUBSCRIPTION feed CONNECTION 'host=far.invalid password=geheim-abo' PUBLICATION p
        WITH (connect = false)
"""


@pytest.fixture
def furnished(database):
    cluster = database.cluster
    cluster.execute("CREATE ROLE accounts")
    for statement in BY_SUPERUSER.split(";\n"):
        cluster.execute(statement, dbname=database.name)
    cluster.execute(f"ALTER DATABASE {database.name} SET log_statement TO 'ddl'")
    yield database
    cluster.drop_databases(database.name)
    cluster.execute("DROP ROLE accounts")


@pg15
def test_what_this_role_could_not_restore(furnished, django_alias):
    found = check_restorable(django_alias)

    cures = "\n".join(each.hint for each in found)
    assert 'GRANT "postgres"' not in cures and "SUPERUSER" not in cures
    ids = [each.id.removeprefix("deploy_ops.") for each in found]
    assert ids == ["B002", "B003", "B003", "B008", "B004", "B005", "B006", "B007"]
    extension, accounts, superuser, create, only, feed, options, settings = found
    assert "superusers may create postgres_fdw" in extension.msg
    assert "backups verify latest --level restore" in extension.hint
    assert (
        "belong to accounts" in accounts.msg
        and "type public.amount, type theirs.amount." in accounts.msg
    )
    assert 'GRANT "accounts" TO "app";' in accounts.hint
    assert (
        "belong to postgres" in superuser.msg
        and "collation public.german, large object 77." in superuser.msg
    )
    assert create.msg.endswith(": accounts in schema public.")
    for thing in (
        "event trigger watch",
        "publication of all tables everything",
        "publication of a schema partly",
        "foreign-data wrapper theirs",
    ):
        assert thing in only.msg
    assert "Subscription feed is not in the backup" in feed.msg
    assert "may not see" in options.msg and options.msg.endswith(": accounts on far.")
    assert "log_statement" in settings.msg
    assert 'GRANT SET ON PARAMETER "log_statement" TO "app";' in settings.hint


@pg15
def test_the_backup_says_it_and_its_manifest_keeps_it(furnished, project):
    printed = project.run("backup", check=0)
    taken = project.json("backup", check=0)

    assert "WARNING These belong to accounts" in printed.stdout
    ids = [finding["id"] for finding in taken["findings"]]
    assert ids == [f"deploy_ops.B00{number}" for number in (2, 3, 3, 8, 4, 5, 6, 7)]
    manifests = [path.read_text() for path in project.backups_dir.glob("*/manifest.json")]
    assert all("accounts on far" in text and "geheim" not in text for text in manifests)
    assert "geheim" not in repr([printed, taken])


@pg15
def test_after_the_cures_nothing_is_left_to_say(furnished, django_alias):
    cluster, name = furnished.cluster, furnished.name
    cluster.execute("GRANT accounts TO app")
    for statement in (
        "GRANT SET ON PARAMETER log_statement TO app",
        "ALTER DOMAIN public.amount OWNER TO app",
        "ALTER LARGE OBJECT 77 OWNER TO app",
        "ALTER COLLATION public.german OWNER TO app",
        "DROP EVENT TRIGGER watch",
        "DROP PUBLICATION everything, partly",
        "DROP FOREIGN DATA WRAPPER theirs",
        "DROP EXTENSION postgres_fdw CASCADE",
        "ALTER SUBSCRIPTION feed SET (slot_name = NONE)",
        "DROP SUBSCRIPTION feed",
    ):
        cluster.execute(statement, dbname=name)
    try:
        assert check_restorable(django_alias) == []
    finally:
        cluster.execute("REVOKE SET ON PARAMETER log_statement FROM app")


@pg15
def test_a_superuser_can_restore_all_of_it(furnished, django_alias, as_superuser):
    assert check_restorable(django_alias) == []


@pytest.fixture
def as_superuser(django_alias):
    from django.db import connections

    connections[django_alias].close()
    connections[django_alias].settings_dict["USER"] = "postgres"


@pg15
def test_an_extension_whose_files_are_gone(database, django_alias):
    database.execute("CREATE EXTENSION citext")
    rename = "UPDATE pg_extension SET extname = 'gone' WHERE extname = 'citext'"
    database.cluster.execute(f"SET allow_system_table_mods = on; {rename}", dbname=database.name)

    [finding] = check_restorable(django_alias)

    assert finding.id == "deploy_ops.B001" and "Extension gone is in use" in finding.msg


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_has_no_roles(django_alias):
    assert check_restorable(django_alias) == []
