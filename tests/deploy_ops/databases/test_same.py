"""One database for Django, our own connections, the probe and the programs, however it is named."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from deploy_ops.databases.postgresql import libpq
from deploy_ops.errors import ConfigurationError
from deploy_ops.redact import Secret
from tests.clusters import PostgresCluster

postgresql_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
PASSWORD = "ge:heim\\ 7"
NAME = "twin"


@pytest.fixture
def twins(tcp_cluster, pg15_cluster):
    """A database of one name in two clusters; the one that is meant asks for a password."""
    for cluster, town in ((tcp_cluster, "meant"), (pg15_cluster, "other")):
        cluster.create_role("anna", password=PASSWORD)
        cluster.create_role("owner")
        cluster.execute("GRANT owner TO anna")
        cluster.create_database("owner", NAME)
        cluster.execute(
            "CREATE TABLE public.trip (purpose text); ALTER TABLE trip OWNER TO owner", dbname=NAME
        )
        cluster.execute("INSERT INTO trip VALUES (%s)", [town], dbname=NAME)
    yield tcp_cluster, pg15_cluster
    for cluster in (tcp_cluster, pg15_cluster):
        cluster.drop_databases(NAME)
        cluster.execute("DROP ROLE anna; DROP ROLE owner")


def backend(**settings) -> dict:
    return {"default": {"ENGINE": "django.db.backends.postgresql", **settings}}


def with_service(cluster, tmp_path, *lines: str) -> dict[str, str]:
    path = tmp_path / "services.conf"
    where = ["[meant]", "host=127.0.0.1", f"port={cluster.port}", "user=anna"]
    path.write_text("\n".join([*where, f"password={PASSWORD}", *lines, ""]))
    return {"PGSERVICEFILE": str(path)}


def with_passfile(cluster, tmp_path) -> dict[str, str]:
    """Its only line is for this database, and the databases beside it need the password too."""
    path = tmp_path / "passwords"
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    path.write_text(f"127.0.0.1:{cluster.port}:{NAME}:anna:{escaped}\n")
    path.chmod(0o600)
    return {"PGPASSFILE": str(path), "PGHOST": "127.0.0.1", "PGUSER": "anna"}


def in_variables(cluster) -> dict[str, str]:
    return {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(cluster.port),
        "PGUSER": "anna",
        "PGPASSWORD": PASSWORD,
    }


def at(cluster) -> dict[str, str]:
    return {"DATABASE_URL": cluster.url(NAME, "postgres")}


WAYS = {
    "variables": lambda c, tmp: (backend(NAME=NAME), in_variables(c)),
    "variables beside a service that is meant": lambda c, tmp: (
        backend(NAME=NAME),
        with_service(c, tmp) | {"PGSERVICE": "meant"},
    ),
    "service with NAME": lambda c, tmp: (
        backend(NAME=NAME, OPTIONS={"service": "meant"}),
        with_service(c, tmp),
    ),
    "service without NAME": lambda c, tmp: (
        backend(OPTIONS={"service": "meant"}),
        with_service(c, tmp, f"dbname={NAME}"),
    ),
    "password file": lambda c, tmp: (
        backend(NAME=NAME, PORT=str(c.port)),
        with_passfile(c, tmp),
    ),
    "options and pool": lambda c, tmp: (
        backend(NAME=NAME, OPTIONS={"options": "-c work_mem=5MB", "pool": True}),
        in_variables(c) | {"PGOPTIONS": "-c search_path=nowhere"},
    ),
    "assumed role": lambda c, tmp: (
        backend(NAME=NAME, OPTIONS={"assume_role": "owner"}),
        in_variables(c),
    ),
    "socket": lambda c, tmp: (
        backend(NAME=NAME, USER="anna", PORT=str(c.port), HOST=str(c.directory)),
        {},
    ),
}


@pytest.fixture
def reached(project, twins, tmp_path, request):
    databases, env = WAYS[request.param](twins[0], tmp_path)
    twins[0].execute("ALTER ROLE anna CREATEDB")
    project.settings(DATABASES=databases)
    project.env |= env
    return project


@postgresql_15
@pytest.mark.parametrize("reached", WAYS, indirect=True)
def test_a_backup_and_a_restore_are_of_the_database_that_django_reaches(reached, twins):
    meant, _ = twins
    backup = reached.json("backup", check=0)
    [manifest] = reached.backups_dir.glob("*/manifest.json")
    [(identifier,)] = meant.execute("SELECT system_identifier::text FROM pg_control_system()")
    assert json.loads(manifest.read_text())["database"]["system_identifier"] == identifier
    meant.execute("UPDATE trip SET purpose = 'later'", dbname=NAME)

    reached.run("restore", backup["backup"], "--noinput", "--confirm", NAME, check=0)

    assert meant.execute("SELECT purpose FROM trip", dbname=NAME) == [("meant",)]


@postgresql_15
@pytest.mark.parametrize("reached", ["service without NAME", "password file"], indirect=True)
def test_the_probe_reaches_what_django_reaches(reached):
    code = (
        "import django; django.setup()\n"
        "from deploy_ops.health.connections import connection_to\n"
        "print(connection_to('default', 'test').rows('SELECT purpose FROM trip'))"
    )
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, env=reached.env, capture_output=True, text=True)

    assert done.stdout == "[('meant',)]\n", done.stderr


@postgresql_15
@pytest.mark.parametrize("command", [["backup"], ["restore", "latest", "--into", "look"]])
def test_a_direct_url_to_the_twin_is_refused(project, twins, command):
    meant, other = twins
    project.settings(DATABASES=backend(NAME=NAME))
    project.env |= in_variables(meant)
    twin = {"DEPLOY_OPS_DIRECT_DATABASE_URL": other.url(NAME, "postgres")}
    if command[0] == "restore":  # the twin's own backup, so that only the address is wrong
        project.run("backup", env={"SETTINGS_OVERRIDES": "{}", "PGPORT": "", **at(other)}, check=0)

    refused = project.run(*command, env=twin, check=1)

    assert f"127.0.0.1:{meant.port} is database {NAME}" in refused.stderr
    assert f"reaches database {NAME}" in refused.stderr and str(other.directory) in refused.stderr
    assert "look" not in other.databases()


@postgresql_15
def test_django_settings_that_lead_nowhere_prove_nothing(project, twins):
    project.settings(DATABASES=backend(NAME=NAME, USER="anna", HOST="127.0.0.1", PORT="1"))

    direct = {"DEPLOY_OPS_DIRECT_DATABASE_URL": twins[0].url(NAME, "postgres")}
    refused = project.run("backup", env=direct, check=1)

    assert "is not known, since it does not answer" in refused.stderr


@contextmanager
def in_turns(*clusters: PostgresCluster):
    """A balancer that sends each connection to the next server; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def forward(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            target.close()

    def serve():
        number = 0
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            cluster = clusters[number % len(clusters)]
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{cluster.directory}/.s.PGSQL.{cluster.port}")
            number += 1
            for ends in ((client, server), (server, client)):
                threading.Thread(target=forward, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@postgresql_15
def test_a_balancer_between_two_servers_is_told(project, twins):
    # Whatever came before, ours and that of psql right after it go to two servers.
    with in_turns(*twins) as port:
        project.settings(
            DATABASES=backend(NAME=NAME, USER="postgres", HOST="127.0.0.1", PORT=str(port))
        )
        refused = project.run("backup", check=1)

    assert f"psql reaches database {NAME}" in refused.stderr
    assert not list(project.backups_dir.glob("*/manifest.json"))


RESOLVED = """
import json, sys
sys.path.insert(0, {path!r})
from deploy_ops.databases.postgresql import libpq
print(json.dumps(libpq.resolve({{}})))
"""


def resolved_by_a_program(parameters: dict[str, str]) -> dict[str, str]:
    """What libpq resolves in a child that has nothing but the variables it is given."""
    hidden = libpq.secret_parameters()
    secrets = {n: Secret(v) for n, v in parameters.items() if n in hidden}
    shown = {n: v for n, v in parameters.items() if n not in hidden}
    with libpq.environment(shown, secrets) as env:
        code = RESOLVED.format(path=os.getcwd())
        argv = [sys.executable, "-c", code]
        done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "given",
    [
        {"host": "db.example", "sslmode": "verify-full", "sslrootcert": "/etc/root.crt"},
        {"host": "a,b", "port": "1,2", "target_session_attrs": "read-write"},
        {"hostaddr": "127.0.0.1", "sslpassword": "p w", "keepalives_idle": "7"},
        {"host": "/tmp", "channel_binding": "require", "passfile": "/nowhere"},
        {"dbname": "with space", "user": "o'neill", "options": "-c a.b=c\\ d", "password": "ü:\\"},
    ],
    ids=lambda given: "+".join(given),
)
def test_a_program_resolves_what_we_resolve(given):
    resolved = libpq.resolve(given)

    assert given.items() <= resolved.items()
    assert resolved_by_a_program(resolved) == resolved


@pytest.mark.parametrize("variable", ["PGSSLMODE", "PGSSLROOTCERT", "PGHOST", "PGPORT"])
def test_variables_of_the_process_are_resolved(monkeypatch, variable):
    monkeypatch.setenv(
        variable, value := {"PGSSLMODE": "require", "PGPORT": "7"}.get(variable, "/x")
    )

    resolved = libpq.resolve({"dbname": "trips"})
    monkeypatch.delenv(variable)

    assert value in resolved.values()
    assert resolved_by_a_program(resolved) == resolved


def test_a_service_that_is_not_defined_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services.conf"))
    (tmp_path / "services.conf").touch()

    with pytest.raises(ConfigurationError, match="nope"):
        libpq.resolve({"service": "nope"})
