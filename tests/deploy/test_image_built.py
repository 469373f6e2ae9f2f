"""The image is really built from the Dockerfile, and run as it says: opt-in, since it takes minutes.

    IMAGE_IN_CHROOT=1 pytest tests/deploy/test_image_built.py

Needs root, buildah and mmdebstrap (apt-get install buildah mmdebstrap); what stands in for the base
image and the engine is told in engine.py.
"""

import json
import os
import signal
import time

import pytest

from tests.clusters import free_port
from tests.deploy.dockerfile import stages
from tests.deploy.engine import COMMIT, TAG, Engine
from tests.kvb.production import SECRET_KEY

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("IMAGE_IN_CHROOT"),
        reason="NOT BUILT: IMAGE_IN_CHROOT=1 builds the image",
    ),
    pytest.mark.timeout(3600),
]
HOST = "kvb.example.org"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    made = Engine(tmp_path_factory.mktemp("engine"))
    made.make_base()
    return made


@pytest.fixture(scope="module")
def image(engine):
    engine.build(f"--tag={TAG}")
    return engine.image()


@pytest.fixture(scope="module")
def settings(image, tcp_cluster):
    """Secrets as files, and a database that is reached over the network."""
    tcp_cluster.create_role("kvb", password="geheim-genug")
    url = tcp_cluster.create_database("kvb", "kvb")
    assert url
    yield {
        "ALLOWED_HOSTS": HOST,
        "SECRET_KEY_FILE": image.keep_secret("secret_key", SECRET_KEY),
        "DATABASE_URL_FILE": image.keep_secret(
            "database_url", tcp_cluster.url("kvb", "kvb", "geheim-genug")
        ),
    }
    tcp_cluster.drop_databases("kvb")
    tcp_cluster.execute("DROP ROLE kvb")


def test_it_says_what_it_is(image):
    assert image.config["User"] == "10001:10001"
    assert image.config["Labels"]["org.opencontainers.image.version"] == "1.2.3"
    assert image.config["Cmd"] == json.loads(stages()[-1].all("CMD")[-1])
    assert image.config["Healthcheck"]["Test"][:4] == ["CMD", "python", "manage.py", "health"]


def test_what_builds_and_what_is_secret_is_not_in_it(image):
    found = {path.name for path in image.files.rglob("*") if path.is_file()}
    assert {"manage.py", "pg_dump", "gunicorn"} <= found
    assert not found & {"pip", "pip3", "gcc", "git", ".env", "kvb.sqlite3", "conftest.py"}
    assert not list((image.files / "app").glob(".git*"))


def test_it_is_nobody_and_writes_nowhere_but_into_its_volumes(image):
    assert image.run("id", "--user").stdout == "10001\n"
    root = image.run("grep", " / ", "/proc/self/mounts").stdout.split()
    assert root[3].startswith("ro,")
    for place in ("/app/manage.py", "/opt/venv/x", "/etc/passwd", "/var/lib/x", "/x"):
        assert image.run("touch", place).returncode == 1
    assert image.run("grep", "CapEff", "/proc/self/status").stdout.split()[1] == "0" * 16
    assert image.run("touch", "/var/lib/kvb-admin/x", "/tmp/x").returncode == 0


def test_without_secrets_it_does_not_start_and_says_which(image):
    done = image.run(*image.config["Cmd"], ALLOWED_HOSTS=HOST)
    assert done.returncode != 0
    assert "Set SECRET_KEY, or SECRET_KEY_FILE" in done.stdout


def test_it_is_prepared_serves_is_healthy_backs_up_and_stops(image, settings):
    for command in (
        ["collectstatic", "--noinput"],
        ["predeploy", "--noinput"],
        ["safe_migrate", "--phase", "expand", "--noinput"],
        ["backup", "--noinput"],
        ["backups", "verify", "latest", "--level", "restore", "--noinput"],
    ):
        done = image.run("python", "manage.py", *command, **settings)
        assert done.returncode == 0, f"{command}: {done.stdout}"
    port = free_port()
    serve = [word.replace(":8000", f":{port}") for word in image.config["Cmd"]]
    serve += ["--bind", "unix:/run/kvb-admin/web.sock"]
    server = image.start(serve, **settings, DRAIN_SECONDS="0")
    try:
        healthy = wait_until_healthy(image, port, settings)
        assert healthy.returncode == 0, healthy.stdout
        socket = "http+unix://%2Frun%2Fkvb-admin%2Fweb.sock"
        smoke = image.run("python", "manage.py", "smoke_test", "--url", socket, **settings)
        assert smoke.returncode == 0, smoke.stdout
    finally:
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=90)
    assert server.returncode == 0, output
    assert (image.volumes / "srv/kvb-admin/static/staticfiles-1.2.3.json").exists()


@pytest.mark.parametrize("answer", ["passed", "failed"])
def test_what_ci_says_of_its_commit_is_believed(image, settings, answer):
    status = image.keep_secret("ci.json", json.dumps({"commit": COMMIT, "tests": answer}))
    done = image.run(
        *"python manage.py predeploy --noinput --format json --ci-status".split(),
        status,
        **settings,
    )
    found = json.loads(done.stdout.splitlines()[-1])["findings"]
    said = [each["message"] for each in found if each["id"] == "deploy_ops.R016"]
    wrong = "CI says of this commit: tests failed, and it has to be passed."
    assert said == ([wrong] if answer == "failed" else [])


def wait_until_healthy(image, port, settings):
    """What the engine asks again and again; the last answer."""
    argv = [word.replace(":8000", f":{port}") for word in image.config["Healthcheck"]["Test"][1:]]
    deadline = time.monotonic() + 120
    while True:
        done = image.run(*argv, **settings)
        if done.returncode == 0 or time.monotonic() > deadline:
            return done


def test_its_bill_of_materials_names_what_is_in_it(engine, tmp_path):
    engine.build("--target=sbom", f"--output={tmp_path}")
    bill = json.loads((tmp_path / "kvb-admin.cdx.json").read_text())
    names = {component["name"].lower() for component in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX"
    assert {"django", "gunicorn", "psycopg"} <= names
