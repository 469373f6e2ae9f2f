"""From a tag to the requests, under load, on real gunicorn, nginx and PostgreSQL."""

import os
import subprocess
import time

import pytest

from deploy_ops.release.host import units
from deploy_ops.release.host.colours import Colour, serving, switch
from tests.drills.releases.site import MODELS, VIEWS
from tests.visitors import Visitors

SWITCHES = int(os.environ.get("SWITCHES", "40"))
GOOD = {("GET", 200), ("POST", 200)}
WITHOUT_NOTE = {
    "shop/models.py": MODELS.replace("    note = models.CharField(max_length=100)\n", "    pass\n"),
    "shop/views.py": VIEWS.replace('note="v"', ""),
    "shop/migrations/0002_gone.py": """
from django.db import migrations
from deploy_ops.phases import Contract

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [Contract(migrations.RemoveField("visit", "note"))]
""",
}


def visitors(host):
    return Visitors(host.port, "/", {"Host": "127.0.0.1"})


def columns(host, database):
    return [
        name
        for (name,) in database.query(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'shop_visit' ORDER BY ordinal_position"
        )
    ]


def test_two_releases_with_a_change_in_two_phases(host, pg15):
    """No request fails, both codes work in between, and the contract waits for the old one."""
    host.deploy("v1.0.0")
    assert host.version() == "1.0.0"
    assert host.running() == ["blue"]
    host.release("v1.1.0", WITHOUT_NOTE)
    with visitors(host) as people:
        told = host.deploy("v1.1.0").stdout
    assert set(people.answers) == GOOD
    assert {text.split()[0] for text in people.texts} == {"1.0.0", "1.1.0"}
    assert host.running() == ["green"]
    assert "green (v1.1.0) is ready" in told
    assert "blue (v1.0.0) has stopped" in told
    assert host.events() == [
        ("deployment", "started", "1.0.0"),
        ("deployment", "done", "1.0.0"),
        ("deployment", "started", "1.1.0"),
        ("deployment", "done", "1.1.0"),
    ]
    assert host.record() is None
    assert columns(host, pg15) == ["id", "note"]

    refused = host.deploy("--contract", check=1)  # v1.0.0 was seen a moment ago
    assert "Release 1.0.0 is still at work" in refused.stderr
    assert columns(host, pg15) == ["id", "note"]
    pg15.execute("UPDATE deploy_ops_instance SET seen_at = now() - interval '1 day'")
    pg15.execute("UPDATE django_migrations SET applied = now() - interval '1 day'")
    host.deploy("--contract")
    assert columns(host, pg15) == ["id"]

    assert "serves already" in host.deploy("v1.1.0").stdout
    older = host.deploy("v1.0.0", check=1)
    assert "--rollback --to v1.0.0" in older.stderr
    assert host.version() == "1.1.0"


def test_forty_switches(deployed):
    deployed.release("v1.1.0")
    deployed.deploy("v1.1.0")
    os.environ["PATH"], path = deployed.env["PATH"], os.environ["PATH"]
    try:
        units.start(deployed.host, Colour.BLUE)
    finally:
        os.environ["PATH"] = path
    with visitors(deployed) as people:
        for _ in range(SWITCHES):
            active = serving(deployed.host)
            switch(deployed.host, active.other)
            time.sleep(0.1)
    assert set(people.answers) == GOOD
    assert len(people.answers) > 10 * SWITCHES
    assert {text.split()[0] for text in people.texts} == {"1.0.0", "1.1.0"}


BROKEN = {
    "does not start": ({"site_wsgi.py": "import nothing_of_that_name\n"}, "has ended before"),
    "pages cannot be imported": ({"shop/views.py": "1 / 0\n"}, "smoke_test"),
    "is not ready": (
        {"shop/checks.py": "def sick(alias):\n    raise RuntimeError('sick')\n", "sick": "yes"},
        "was not ready within",
    ),
    "its migration fails": (
        {"shop/migrations/0002_fails.py": """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunSQL("SELECT 1 / 0", migrations.RunSQL.noop)]
"""},
        "safe_migrate",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_release_never_gets_a_request(deployed, kind):
    files, said = BROKEN[kind]
    deployed.configure(gate_seconds="1")
    if "sick" in files:
        settings = (deployed.root / "site_settings.py").read_text()
        sick = settings.replace('"migrations"]', '"migrations", "shop.checks.sick"]')
        files = {**files, "site_settings.py": sick}
    deployed.release("v1.1.0", files)
    with visitors(deployed) as people:
        failed = deployed.deploy("v1.1.0", check=3)
    assert said in failed.stderr
    assert "v1.0.0 serves" in failed.stderr
    assert set(people.answers) == GOOD
    assert {text.split()[0] for text in people.texts} == {"1.0.0"}
    assert deployed.running() == ["blue"]
    assert deployed.events()[-1] == ("deployment", "failed", "1.1.0")
    assert deployed.record() is None


ERRORS = VIEWS.replace(
    "def page(request):\n",
    "def page(request):\n"
    "    if request.method == 'POST' and request.META['HTTP_HOST'] == '127.0.0.1':\n"
    "        return HttpResponse('no', status=500)\n",
)


def test_a_release_that_serves_worse_gives_the_requests_back(deployed):
    deployed.configure(watch_seconds="20")
    deployed.release("v1.1.0", {"shop/views.py": ERRORS})
    with visitors(deployed) as people:
        failed = deployed.deploy("v1.1.0", check=3)
        assert deployed.version() == "1.0.0"
    assert "serves worse than the release before" in failed.stderr
    assert "v1.0.0 gets the requests again" in failed.stdout
    assert ("POST", 500) in people.answers
    assert deployed.running() == ["blue"]


def test_the_way_back_takes_less_than_a_second_while_the_release_is_watched(deployed):
    deployed.configure(watch_seconds="60")
    deployed.release("v1.1.0")
    with visitors(deployed) as people:
        process = start(deployed, "v1.1.0")
        wait_for(lambda: (deployed.record() or {}).get("step") == "watch")
        wait_for(lambda: deployed.version() == "1.1.0")
        back = start(deployed, "--rollback")
        began = time.monotonic()
        wait_for(lambda: deployed.version() == "1.0.0")
        took = time.monotonic() - began
        assert process.wait(60) == 3
        assert back.wait(60) == 0
    assert took < 1
    assert set(people.answers) == GOOD
    assert deployed.running() == ["blue"]


def test_the_way_back_to_a_release_that_has_stopped(deployed):
    """It is started and asked as a new one is; a hook that fails leaves the newer one serving."""
    deployed.release("v1.1.0")
    deployed.deploy("v1.1.0")
    with visitors(deployed) as people:
        told = deployed.deploy("--rollback").stdout
    assert "v1.0.0 gets the requests" in told
    assert set(people.answers) == GOOD
    assert deployed.running() == ["blue"]
    assert deployed.events()[-1] == ("rollback", "done", "1.0.0")
    assert "is not on this host" in deployed.deploy("--rollback", "--to", "v0.9.0", check=1).stderr
    assert deployed.version() == "1.0.0"


def test_hooks_are_told_and_can_stop_it(deployed):
    hook = '#!/bin/sh\necho "$DEPLOY_FROM to $DEPLOY_TAG"\nexit {code}\n'
    deployed.release("v1.1.0", {"deploy/hooks/pre-switch": hook.format(code=1)})
    (deployed.root / "deploy/hooks/pre-switch").chmod(0o755)
    deployed.release("v1.1.1")
    failed = deployed.deploy("v1.1.1", check=3)
    assert "v1.0.0 to v1.1.1" in failed.stdout
    assert "The hook pre-switch of v1.1.1 ends the deployment" in failed.stderr
    assert deployed.version() == "1.0.0"
    not_executable = deployed.deploy("v1.1.0", check=3)
    assert "is not executable" in not_executable.stderr


def test_one_at_a_time(deployed):
    deployed.configure(watch_seconds="3")
    deployed.release("v1.1.0")
    first = start(deployed, "v1.1.0")
    wait_for(lambda: (deployed.record() or {}).get("step"))
    refused = deployed.deploy("v1.1.0", check=1)
    assert "deploy.sh v1.1.0 (process" in refused.stderr
    assert "serves already" in deployed.deploy("v1.1.0", "--wait", "60").stdout
    assert first.wait(60) == 0


def start(host, *arguments):
    return subprocess.Popen(
        [*host.argv, *arguments],
        cwd=host.root,
        env=host.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
