"""From a tag to the requests, under load, on real gunicorn, nginx and PostgreSQL."""

import base64
import json
import os
import signal
import time
from contextlib import contextmanager

import pytest

from deploy_ops.release.host import units
from deploy_ops.release.host.answers import ask_ready
from deploy_ops.release.host.colours import serving, switch
from tests.drills.releases.host import wait_for
from tests.drills.releases.site import MODELS, SETTINGS, VIEWS
from tests.receiver import receiving
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


def columns(database):
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
        told = host.as_typed("TAG", "v1.1.0").stdout
    assert set(people.answers) == GOOD
    assert {text.split()[0] for text in people.texts} == {"1.0.0", "1.1.0"}
    assert host.running() == ["green"]
    assert "green (v1.1.0) is ready" in told
    assert "blue (v1.0.0) has stopped" in told
    assert "The way back to 1.0.0 takes code only." in told
    assert "1.0.0 had until" in told  # its metrics, kept before the switch and compared after it
    for unknown in ("R014", "R015", "R017"):
        assert f"[deploy_ops.{unknown}]" not in told
    assert host.events() == [
        ("deployment", "started", "1.0.0"),
        ("deployment", "done", "1.0.0"),
        ("deployment", "started", "1.1.0"),
        ("deployment", "done", "1.1.0"),
    ]
    assert host.record() is None
    assert columns(pg15) == ["id", "note"]

    refused = host.deploy("--contract", check=1)  # v1.0.0 was seen a moment ago
    assert "Release 1.0.0 may still be at work" in refused.stderr
    assert columns(pg15) == ["id", "note"]
    pg15.execute("UPDATE deploy_ops_instance SET seen_at = now() - interval '1 day'")
    pg15.execute("UPDATE django_migrations SET applied = now() - interval '1 day'")
    host.as_typed("--contract")
    assert columns(pg15) == ["id"]
    assert host.events()[4:] == [("contract", "started", "1.1.0"), ("contract", "done", "1.1.0")]

    older = host.deploy("v1.0.0", check=1)
    assert "--rollback --to v1.0.0" in older.stderr
    back = host.deploy("--rollback", check=1)
    assert "1.0.0 does not work on the schema as it is" in back.stdout
    assert "python manage.py rollback --to v1.0.0 --restore" in back.stdout
    assert "v1.0.0 is not started" in back.stderr
    assert f"in\n    {host.root}/releases/v1.1.0" in back.stderr
    assert host.version() == "1.1.0"


@pytest.mark.timeout(300)
def test_forty_switches(deployed):
    deployed.deploy(deployed.next_release())
    idle = serving(deployed.host).other
    with on_path(deployed):
        units.start(deployed.host, idle)
    wait_for(lambda: ask_ready(deployed.host, idle).status == 200)
    with visitors(deployed) as people:
        for _ in range(SWITCHES):
            switch(deployed.host, serving(deployed.host).other)
            time.sleep(0.1)
    assert set(people.answers) == GOOD
    assert len(people.answers) > 10 * SWITCHES
    assert len({text.split()[0] for text in people.texts}) == 2
    with on_path(deployed):
        units.stop(deployed.host, serving(deployed.host).other)


SETTINGS_OF_A_SICK_ONE = SETTINGS.replace('"migrations"]', '"migrations", "shop.checks.sick"]')
FAILING = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunSQL("SELECT 1 / 0", migrations.RunSQL.noop)]
"""
BROKEN = {
    "does not start": ({"site_wsgi.py": "import nothing_of_that_name\n"}, 3, "has ended before"),
    "its pages cannot be imported": ({"shop/views.py": "1 / 0\n"}, 1, "predeploy"),
    "its pages fail": (
        {"shop/views.py": VIEWS.replace("    return", "    1 / 0\n    return")},
        3,
        "smoke_test",
    ),
    "is not ready": (
        {
            "shop/checks.py": "def sick(alias):\n    raise RuntimeError('sick')\n",
            "site_settings.py": SETTINGS_OF_A_SICK_ONE,
        },
        3,
        "was not ready within",
    ),
    "its migration fails": ({"shop/migrations/0002_fails.py": FAILING}, 3, "safe_migrate"),
}


def test_staging_serves_the_head_of_main(deployed):
    """Without a tag, and production says that it is not staging."""
    wrong = deployed.deploy("--target", "staging", check=1)
    assert "This host is production" in wrong.stderr
    assert "Name the tag" in deployed.deploy(check=2).stderr
    deployed.configure(target='"staging"')
    deployed.git("commit", "--quiet", "--allow-empty", "-m", "merged")
    with visitors(deployed) as people:
        deployed.as_typed("--target staging")
    assert set(people.answers) == GOOD
    described = deployed.git("describe", "--abbrev=12")
    assert "-1-g" in described and f"v{deployed.version()}" == described
    assert "serves already" in deployed.deploy().stdout


def test_development_is_a_target_of_make(deployed):
    (deployed.programs / "make").write_text("#!/bin/sh\necho make $*\n")
    (deployed.programs / "make").chmod(0o755)
    assert deployed.deploy("--target", "dev").stdout == "make restart-dev\n"


def test_receivers_are_told_of_what_deploy_does(deployed, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(base64.b64encode(os.urandom(32)).decode())
    with receiving() as receiver:
        # Nobody answers at the second one.
        deployed.configure(
            notify=f'["{receiver.url}", "http://127.0.0.1:1/"]', notify_secret_file=f'"{secret}"'
        )
        told = deployed.deploy(deployed.next_release())
    assert [json.loads(body)["type"] for _, _, body in receiver.told] == [
        "deploy_ops.deployment.started",
        "deploy_ops.deployment.done",
    ]
    assert "127.0.0.1 was not told of an event" in told.stderr


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_release_never_gets_a_request(deployed, kind):
    files, code, said = BROKEN[kind]
    before, running = deployed.version(), deployed.running()
    if kind == "is not ready":
        deployed.configure(gate_seconds="1.5")
    tag = deployed.next_release(files)
    with visitors(deployed) as people:
        failed = deployed.deploy(tag, check=code)
    assert said in failed.stderr
    assert f"v{before} serves" in failed.stderr
    assert set(people.answers) == GOOD
    assert {text.split()[0] for text in people.texts} == {before}
    assert deployed.running() == running
    if code == 3:
        assert deployed.events()[-1] == ("deployment", "failed", tag.removeprefix("v"))
    assert deployed.record() is None


ERRORS = VIEWS.replace(
    "def page(request):\n",
    "def page(request):\n"
    "    if request.method == 'POST':\n"
    "        return HttpResponse('no', status=500)\n",
)


def test_a_release_that_serves_worse_gives_the_requests_back(deployed):
    before, running = deployed.version(), deployed.running()
    deployed.configure(watch_seconds="20")
    hook = deployed.directory / "srv" / "releases" / f"v{before}" / "deploy/hooks/post-rollback"
    hook.parent.mkdir(parents=True, exist_ok=True)
    hook.write_text('#!/bin/sh\necho "$DEPLOY_FROM went, $DEPLOY_TAG is back"\nexit 7\n')
    hook.chmod(0o755)
    tag = deployed.next_release({"shop/views.py": ERRORS})
    with visitors(deployed) as people:
        failed = deployed.deploy(tag, check=3)
    hook.unlink()
    assert deployed.version() == before
    assert "serves worse than the release before" in failed.stderr
    assert f"v{before} gets the requests again" in failed.stdout
    assert f"{tag} went, v{before} is back" in failed.stdout
    assert f"The hook post-rollback of v{before} failed" in failed.stdout
    assert ("POST", 500) in people.answers
    assert deployed.running() == running


def test_the_way_back_takes_less_than_a_second_while_the_release_is_watched(deployed):
    before, running = deployed.version(), deployed.running()
    deployed.configure(watch_seconds="60")
    tag = deployed.next_release()
    with visitors(deployed) as people:
        process = deployed.start(tag)
        wait_for(lambda: deployed.step() == "watch")
        assert deployed.version() == tag.removeprefix("v")
        began = time.monotonic()
        deployed.deploy("--status")  # how long Python itself takes, beside other tests
        looked = time.monotonic() - began
        began = time.monotonic()
        back = deployed.start("--rollback")
        wait_for(lambda: deployed.version() == before)
        took = time.monotonic() - began
        assert process.wait(60) == 3
        assert back.wait(60) == 0
    assert took < max(1, 2 * looked)
    assert set(people.answers) == GOOD
    assert deployed.running() == running


def test_the_way_back_to_a_release_that_has_stopped(deployed):
    """It is started and asked as a new one is."""
    before, tag = deployed.version(), deployed.next_release()
    with visitors(deployed) as people:
        deployed.deploy(tag)
        deployed.as_typed("--rollback --to TAG", f"v{before}")
        assert deployed.version() == before
        deployed.deploy(tag)
        told = deployed.as_typed("--rollback").stdout
    assert f"v{before} gets the requests" in told
    assert deployed.version() == before
    assert set(people.answers) == GOOD
    assert len(deployed.running()) == 1
    assert deployed.events()[-1] == ("rollback", "done", before)
    assert "is not on this host" in deployed.deploy("--rollback", "--to", "v0.9.0", check=1).stderr
    assert deployed.version() == before


def test_a_hook_is_told_and_can_stop_it(deployed):
    before = deployed.version()
    hook = '#!/bin/sh\necho "$DEPLOY_FROM to $DEPLOY_TAG"\nexit 1\n'
    tag = deployed.next_release({"deploy/hooks/pre-switch": hook})
    failed = deployed.deploy(tag, check=3)
    assert f"v{before} to {tag}" in failed.stdout
    assert f"The hook pre-switch of {tag} failed" in failed.stderr
    assert deployed.version() == before


def test_one_at_a_time(deployed):
    deployed.configure(watch_seconds="2")
    tag = deployed.next_release()
    first = deployed.start(tag)
    wait_for(lambda: deployed.step())
    refused = deployed.deploy(tag, check=1)
    assert f"deploy.sh {tag} (process" in refused.stderr
    assert "serves already" in deployed.deploy(tag, "--wait", "60").stdout
    assert first.wait(60) == 0


@contextmanager
def on_path(host):
    """The host's systemctl before this machine's."""
    before = os.environ["PATH"]
    os.environ["PATH"] = host.env["PATH"]
    try:
        yield
    finally:
        os.environ["PATH"] = before


def test_a_deployment_that_is_stopped_by_hand_goes_back(deployed):
    before, running = deployed.version(), deployed.running()
    deployed.configure(watch_seconds="60")
    tag = deployed.next_release()
    with visitors(deployed) as people:
        process = deployed.start(tag)
        wait_for(lambda: deployed.step() == "watch")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 3
    assert deployed.version() == before
    assert deployed.running() == running
    assert set(people.answers) == GOOD
    assert deployed.events()[-1] == ("deployment", "failed", tag.removeprefix("v"))


def test_a_release_whose_main_process_is_killed_while_watched_gives_the_requests_back(deployed):
    before, running = deployed.version(), deployed.running()
    deployed.configure(watch_seconds="60")
    tag = deployed.next_release()
    process = deployed.start(tag)
    wait_for(lambda: deployed.step() == "watch")
    os.kill(deployed.pid(serving(deployed.host)), signal.SIGKILL)
    assert process.wait(60) == 3
    assert deployed.version() == before
    assert deployed.running() == running
    assert deployed.events()[-1] == ("deployment", "failed", tag.removeprefix("v"))


def test_a_way_back_that_fails_is_told_with_what_serves(deployed):
    """The old colour has gone while the new one was watched: the new one goes on."""
    before = deployed.version()
    deployed.configure(watch_seconds="20")
    tag = deployed.next_release()
    process = deployed.start(tag)
    wait_for(lambda: deployed.step() == "watch")
    with on_path(deployed):
        units.stop(deployed.host, serving(deployed.host).other)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 4
    said = (deployed.directory / "deploy.log").read_text()
    assert f"(v{before}) is not ready" in said
    assert f"{tag} gets the requests now." in said
    assert deployed.version() == tag.removeprefix("v")

    told = deployed.deploy(tag).stdout  # puts in order, and has nothing else to do
    assert "after it had got the requests" in told
    assert f"{tag} serves already" in told
    assert deployed.record() is None
