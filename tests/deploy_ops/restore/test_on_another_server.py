"""A backup on a server that knows nothing of it, as the restore drill's page has it."""

import json

import pytest

from tests.deploy_ops.backup.manifests import forged

pg15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
PASSWORD = "geheim-im-dump"
FURNITURE = f"""
    CREATE TABLE public.trip (id serial PRIMARY KEY, km int);
    INSERT INTO public.trip (km) SELECT generate_series(1, 100);
    ALTER TABLE public.trip ENABLE ROW LEVEL SECURITY;
    CREATE POLICY audit ON public.trip FOR SELECT TO auditor USING (true);
    CREATE EXTENSION citext VERSION '1.4';
    CREATE EXTENSION postgres_fdw;
    CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
    CREATE USER MAPPING FOR partner SERVER far OPTIONS (user 'us', password '{PASSWORD}');
    CREATE SUBSCRIPTION feed CONNECTION 'host=far.invalid password={PASSWORD}' PUBLICATION p
        WITH (connect = false);
    CREATE PUBLICATION everything FOR ALL TABLES;
    CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.watch()
"""
ROLES = ["auditor", "partner"]


@pytest.fixture
def saved(project, database, pg18_cluster):
    """A project whose superuser took a backup; DATABASE_URL is now that of a new server."""
    for role in ROLES:
        database.cluster.execute(f"CREATE ROLE {role}")
    for statement in FURNITURE.split(";\n"):
        database.cluster.execute(statement, dbname=database.name)
    database.cluster.execute(f"ALTER DATABASE {database.name} IS_TEMPLATE true")
    project.env["DATABASE_URL"] = database.cluster.url(database.name, "postgres")
    project.run("backup", check=0)
    project.env["DATABASE_URL"] = pg18_cluster.url("trips", "postgres")
    yield project
    pg18_cluster.drop_databases("drill")
    database.cluster.drop_databases(database.name)
    for cluster in (database.cluster, pg18_cluster):
        for role in ROLES:
            cluster.execute(f"DROP ROLE IF EXISTS {role}")


def manifest_of(project):
    [path] = project.backups_dir.glob("*/manifest.json")
    return path


@pg15
def test_the_drill_as_its_page_says(saved, database, pg18_cluster):
    drill = ("restore", "latest", "--into", "drill")

    refused = saved.run(*drill, check=1)

    assert 'do not exist on this server: auditor, partner. Run:\n    CREATE ROLE "auditor";' in (
        refused.stderr
    )
    for role in ROLES:
        pg18_cluster.execute(f"CREATE ROLE {role}")

    done = saved.run(*drill, check=0)

    assert "There is no backup of this database. The newest one is " in done.stdout
    assert f"of {database.name} on " in done.stdout
    assert "Extension citext was 1.4 in the saved database, and becomes 1." in done.stdout
    assert "Subscription feed is disabled and has no slot" in done.stdout
    query = "SELECT subenabled, subslotname FROM pg_subscription WHERE subname = 'feed'"
    assert pg18_cluster.execute(query) == [(False, None)]
    query = "SELECT datistemplate FROM pg_database WHERE datname = 'drill'"
    assert pg18_cluster.execute(query) == [(True,)]
    assert pg18_cluster.execute("SELECT count(*) FROM trip", dbname="drill") == [(100,)]
    assert PASSWORD not in repr([refused, done])


@pg15
def test_a_template_with_a_detached_subscription_can_be_dropped(saved, database, pg18_cluster):
    for role in ROLES:
        pg18_cluster.execute(f"CREATE ROLE {role}")

    verified = saved.run(
        "backups", "verify", manifest_of(saved).parent.name, "--level", "restore", check=0
    )

    assert "Subscription feed is disabled" in verified.stdout
    assert pg18_cluster.databases() == []


@pg15
def test_what_this_role_may_not_create_is_named_before_anything_is_loaded(
    saved, database, pg18_cluster
):
    for role in ROLES:
        pg18_cluster.execute(f"CREATE ROLE {role}")
    saved.env["DATABASE_URL"] = pg18_cluster.url("trips", "app")

    failed = saved.run("restore", "latest", "--into", "drill", check=1)

    for words in (
        "Extension postgres_fdw cannot be created: permission denied",
        "may not create what the backup has, event trigger watch: permission denied",
        "may not create what the backup has, publication of all tables everything: must be",
        "The half-made database was dropped",
    ):
        assert words in failed.stderr
    assert PASSWORD not in repr(failed)
    assert pg18_cluster.databases() == []


@pg15
def test_a_failing_user_mapping_prints_no_password(saved, database, pg18_cluster):
    """Where the look ahead misses a role, pg_restore fails, and repeats the statement."""
    pg18_cluster.execute("CREATE ROLE auditor")
    manifest = manifest_of(saved)
    extra = json.loads(manifest.read_bytes())["extra"] | {"named_roles": []}
    manifest.write_bytes(forged(manifest.read_bytes(), extra=extra))

    failed = saved.run("restore", manifest.parent.name, "--into", "drill", check=1)

    assert 'role "partner" does not exist' in failed.stderr
    assert PASSWORD not in repr(failed)
