"""docker-compose.prod.yml by its schema and by what it must not lose; there is no engine here."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kvb.app.settings import BASE_DIR
from tests.deploy.commands import parse_command
from tests.deploy.dockerfile import stages
from tests.project.runner import REPOSITORY

FILE = REPOSITORY / "docker-compose.prod.yml"
PROJECT = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES = PROJECT["services"]
ONCE = ["migrate", "static", "links"]
SERVING = ["web", "web-next"]
OURS = ONCE + SERVING


def sources(service):
    return {volume.partition(":")[0]: volume.split(":")[1] for volume in service["volumes"]}


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def test_it_is_what_the_specification_allows():
    argv = [Path(sys.executable).with_name("check-jsonschema")]
    argv += ["--builtin-schema", "vendor.compose-spec", FILE]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "version" not in PROJECT


@pytest.mark.parametrize("name", OURS)
def test_each_of_ours_is_the_same_image_and_may_do_no_more_than_it_needs(name):
    service = SERVICES[name]
    assert service["image"].startswith("registry.example.com/kvb-admin:${VERSION:?")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_no_image_is_whatever_is_newest():
    for service in SERVICES.values():
        assert re.search(r":(\d|\$\{VERSION:\?)", service["image"])
    assert SERVICES["db"]["image"] == "postgres:15"


@pytest.mark.parametrize("name", SERVICES)
def test_everything_has_limits_and_logs_that_end(name):
    assert SERVICES[name]["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert SERVICES[name]["logging"]["driver"] == "local"


def test_the_schema_is_expanded_once_before_anything_serves():
    assert parse_command(SERVICES["migrate"]["command"]) == "safe_migrate"
    assert "expand" in SERVICES["migrate"]["command"]
    assert parse_command(SERVICES["static"]["command"]) == "collectstatic"
    for name in SERVING:
        waits = SERVICES[name]["depends_on"]
        assert {each: waits[each]["condition"] for each in ONCE} == dict.fromkeys(
            ONCE, "service_completed_successfully"
        )
    assert SERVICES["migrate"]["depends_on"]["db"]["condition"] == "service_healthy"
    assert not any("restart" in SERVICES[name] for name in ONCE)


@pytest.mark.parametrize("name", SERVING)
def test_a_server_is_what_the_image_starts_on_a_socket_of_its_own(name):
    started = yaml.safe_load(stages()[-1].all("CMD")[-1])
    command = SERVICES[name]["command"]
    assert command[:-4] == started[:-2]
    assert command[-4:] == [
        "--bind",
        "127.0.0.1:8000",
        "--bind",
        f"unix:/run/kvb-admin/{name}.sock",
    ]
    assert "ports" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVING)
def test_a_server_has_time_to_finish(name, monkeypatch):
    monkeypatch.setenv("DRAIN_SECONDS", SERVICES[name]["environment"]["DRAIN_SECONDS"])
    config = runpy.run_path(str(BASE_DIR / "kvb" / "app" / "gunicorn.conf.py"))
    longest = config["DRAIN_SECONDS"] + config["graceful_timeout"]
    assert seconds(SERVICES[name]["stop_grace_period"]) > longest


def test_nobody_outside_reaches_the_database():
    assert "ports" not in SERVICES["db"]
    assert SERVICES["db"]["networks"] == ["database"]
    assert PROJECT["networks"]["database"] == {"internal": True}
    assert [name for name, each in SERVICES.items() if "ports" in each] == ["nginx"]


def test_secrets_are_files():
    given = [value for each in SERVICES.values() for value in each.get("environment", {}).items()]
    assert ("POSTGRES_PASSWORD_FILE", "/run/secrets/database_password") in given
    for name, value in given:
        if re.search("SECRET|PASSWORD|DATABASE_URL", name):
            assert name.endswith("_FILE") and value.startswith("/run/secrets/")
    assert all(each.keys() == {"file"} for each in PROJECT["secrets"].values())


def test_what_has_to_outlive_a_container_lies_in_volumes_of_the_image():
    made = " ".join(stages()[-1].all("RUN"))
    for place in sources(SERVICES["web"]).values():
        assert f" {place}" in made
    assert {"static", "media", "postgres_data", "backups"} <= PROJECT["volumes"].keys()
    assert PROJECT["volumes"]["backups"]["driver_opts"]["device"] == "/srv/backups/kvb-admin"
    assert sources(SERVICES["db"]) == {"postgres_data": "/var/lib/postgresql/data"}


def test_nginx_finds_what_its_file_names():
    conf = (REPOSITORY / "deploy" / "nginx" / "kvb-admin.conf").read_text(encoding="utf-8")
    places = set(sources(SERVICES["nginx"]).values())
    mounted = {
        "/run/kvb-admin",
        "/srv/kvb-admin/static",
        "/etc/letsencrypt",
        "/var/www/html",
    }
    assert mounted <= places
    assert all(place in conf for place in mounted)
    links = set(re.findall(r"unix:/run/kvb-admin/(\S+)\.sock", conf))
    links -= {"blue", "green"}  # for Prometheus on a host; here they answer 502
    shell = SERVICES["links"]["command"][-1]
    assert all(re.search(rf"\b{link}\b", shell) for link in links)
