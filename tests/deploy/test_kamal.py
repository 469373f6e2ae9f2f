"""config/deploy.yml against what the application needs, and the hooks with a Kamal that notes commands.

Kamal itself is a Ruby program of its own; that its validator takes the file was seen by hand.
"""

import os
import re
import subprocess

import pytest
import yaml

from tests.deploy.commands import parse_command
from tests.deploy.dockerfile import stages
from tests.project.runner import REPOSITORY

CONFIG = yaml.safe_load((REPOSITORY / "config" / "deploy.yml").read_text(encoding="utf-8"))
IMAGE = stages()[-1]


def test_it_deploys_an_image_that_ci_has_built():
    assert f'service="{CONFIG["service"]}"' in " ".join(IMAGE.all("LABEL"))
    assert CONFIG["builder"] == {"arch": "amd64"}


def test_requests_go_where_the_application_is_ready():
    assert CONFIG["proxy"]["healthcheck"]["path"] == "/health/ready/"
    assert [str(CONFIG["proxy"]["app_port"])] == IMAGE.all("EXPOSE")
    assert CONFIG["proxy"]["host"] == CONFIG["env"]["clear"]["ALLOWED_HOSTS"]


def test_time_outs_are_in_order():
    gunicorn = (REPOSITORY / "kvb" / "app" / "gunicorn.conf.py").read_text(encoding="utf-8")
    graceful = int(re.search(r"^graceful_timeout = (\d+)", gunicorn, re.M)[1])
    assert CONFIG["proxy"]["response_timeout"] < graceful <= CONFIG["drain_timeout"]
    assert CONFIG["stop_timeout"] > graceful + CONFIG["env"]["clear"]["DRAIN_SECONDS"]


def test_it_may_do_no_more_than_it_needs_and_keeps_what_has_to_stay():
    options = CONFIG["servers"]["web"]["options"]
    assert options["read-only"] is True and options["cap-drop"] == "ALL"
    places = {volume.split(":")[1] for volume in CONFIG["volumes"]}
    assert {"/var/lib/kvb-admin", "/var/backups/kvb-admin", "/srv/kvb-admin/static"} <= places


def test_static_files_are_served_as_in_kubernetes():
    path = REPOSITORY / "deploy" / "kubernetes" / "base" / "static.yaml"
    settings, *_ = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    served = (REPOSITORY / "config" / "static.conf").read_text(encoding="utf-8")
    assert served == settings["data"]["default.conf"]


def test_secrets_are_named_and_not_written_down():
    lines = (REPOSITORY / ".kamal" / "secrets").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert given == {name: f"${name}" for name in given}
    wanted = [*CONFIG["env"]["secret"], *CONFIG["registry"]["username"]]
    assert set(wanted + CONFIG["registry"]["password"]) == set(given)


@pytest.fixture
def hook(tmp_path):
    """Runs a hook; its exit code, and the commands that it asked Kamal for."""
    kamal = tmp_path / "kamal"
    kamal.write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\ncase $* in *"$FAILING"*) exit 1;; esac\n'
    )
    kamal.chmod(0o755)

    def run(name, failing="nothing"):
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "KAMAL_VERSION": "v1.2.3"}
        argv = [REPOSITORY / ".kamal" / "hooks" / name]
        done = subprocess.run(argv, env=env | {"FAILING": failing}, check=False)
        asked = (tmp_path / "asked").read_text().splitlines()
        assert all(line.startswith("app exec --primary --version v1.2.3 python ") for line in asked)
        return done.returncode, [parse_command(line.split()) for line in asked]

    return run


def test_the_schema_is_expanded_before_anything_is_replaced(hook):
    assert hook("pre-deploy") == (0, ["collectstatic", "predeploy", "safe_migrate"])


def test_what_does_not_expand_is_not_deployed(hook):
    assert hook("pre-deploy", failing="predeploy") == (1, ["collectstatic", "predeploy"])


def test_it_is_used_afterwards(hook):
    assert hook("post-deploy") == (0, ["smoke_test", "postdeploy"])


def test_commands_on_its_page_are_there():
    page = (REPOSITORY / "docs" / "howto" / "which-way-to-deploy.md").read_text(encoding="utf-8")
    found = re.findall(r'kamal app exec .*?"python (manage\.py .*?)"', page)
    assert [parse_command(line.split()) for line in found] == ["rollback", "safe_migrate"]
