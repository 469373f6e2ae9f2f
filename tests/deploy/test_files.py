"""Units, rotation and scripts, read by the tools that they are for."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy_ops.release.host.config import read_host
from deploy_ops.release.host.environment import read_environment
from tests.deploy.commands import parse_command
from tests.programs import find_program
from tests.project.runner import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [path for path in UNITS if path.suffix == ".service"]
SCRIPTS = [
    "deploy.sh",
    "deploy/kvb-manage",
    "deploy/nginx/reload-after-renewal",
    "deploy/compose/release",
    "deploy/ci/check-tag",
    "deploy/ci/release",
    "deploy/ci/status",
    "deploy/kubernetes/release",
    ".kamal/hooks/pre-deploy",
    ".kamal/hooks/post-deploy",
    ".ci/run",
] + [f"scripts/{path.name}" for path in sorted((REPOSITORY / "scripts").iterdir())]
# For who keeps an archive of the server: docs/howto/restore-to-any-moment.md.
OPTIONAL = {"kvb-admin-base", "kvb-admin-wal"}
MOST_EXPOSED = 30  # tenths


def read(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(path)
    return parser


@pytest.fixture
def analyze():
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("NOT VERIFIED BY SYSTEMD: systemd-analyze is not here")
    return found


def test_systemd_has_nothing_to_say_about_the_units(analyze, tmp_path):
    for path in UNITS:
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"/srv/kvb-admin/\S+/bin/python", sys.executable, text)
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", *sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    # It ends with 0 whatever it finds, and speaks of the machine's own units too.
    assert [line for line in done.stderr.splitlines() if "kvb-admin" in line] == []


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_services_may_do_no_more_than_they_need(analyze, path):
    done = subprocess.run(
        [analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSED}", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_commands_of_units_are_there(path):
    argv = read(path)["Service"]["ExecStart"].split()
    if "manage.py" not in argv:
        assert path.stem in ("kvb-admin@", "kvb-admin-link")
        return
    parse_command(argv)


def test_every_job_has_its_timer_and_every_timer_its_job():
    timers = {path.stem for path in UNITS if path.suffix == ".timer"}
    jobs = {path.stem for path in SERVICES} - {"kvb-admin@", "kvb-admin-link"}
    assert timers == jobs - {"kvb-admin-wal"}  # it never ends
    for path in UNITS:
        if path.suffix == ".timer":
            assert read(path)["Timer"]["Persistent"] == "true"
    page = (REPOSITORY / "docs/howto/set-up-a-host.md").read_text(encoding="utf-8")
    (enabled,) = re.findall(r"systemctl enable --now (.*)", page)
    # That of certbot comes with Debian's package.
    assert set(enabled.split()) == {
        "certbot.timer",
        *(f"{timer}.timer" for timer in timers - OPTIONAL),
    }


def test_commands_of_a_release_have_the_variables_of_its_units():
    """What only a unit names is not there for collectstatic, predeploy and safe_migrate."""
    given = [str(path) for path in read_host(REPOSITORY).environment]
    for path in SERVICES:
        lines = path.read_text(encoding="utf-8").splitlines()
        files = [line.partition("=")[2] for line in lines if line.startswith("EnvironmentFile=")]
        named = [line.partition("=")[2] for line in lines if line.startswith("Environment=")]
        if files:
            assert [each for each in files if not each.endswith("/release.env")] == given
        # How long a process that serves says that it is about to stop.
        assert set(named) <= {"DRAIN_SECONDS=0"}, path.name
    variables = read_environment([DEPLOY / "settings.env"])
    assert variables["DJANGO_SETTINGS_MODULE"] == "kvb.app.settings_prod"


def test_kvb_manage_has_user_place_and_variables_of_the_units(tmp_path):
    fake = tmp_path / "systemd-run"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    said = subprocess.run(
        [DEPLOY / "kvb-manage", "restore", "latest", "--confirm", "a b"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SUDO_USER": "anna"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    unit = (DEPLOY / "systemd/kvb-admin-backup.service").read_text(encoding="utf-8")
    files = re.findall(r"^EnvironmentFile=(.*)$", unit, re.M)
    assert [line for line in said if "EnvironmentFile" in line] == [
        f"--property=EnvironmentFile={path}" for path in files
    ]
    service = read(DEPLOY / "systemd/kvb-admin-backup.service")["Service"]
    assert {f"--uid={service['User']}", f"--gid={service['Group']}"} < set(said)
    assert f"--working-directory={service['WorkingDirectory']}" in said
    assert f"--property=UMask={service['UMask']}" in said
    assert "--setenv=DEPLOY_BY=anna" in said
    python, *_ = service["ExecStart"].split()
    assert said[-6:] == [python, "manage.py", "restore", "latest", "--confirm", "a b"]


def test_units_and_the_deployer_speak_of_the_same_places():
    unit = read(DEPLOY / "systemd" / "kvb-admin@.service")["Service"]
    host = (DEPLOY / "host.toml").read_text(encoding="utf-8")
    assert "unix:/run/kvb-admin/%i.sock" in unit["ExecStart"]
    assert 'sockets = "/run/kvb-admin"' in host
    assert 'units = ["kvb-admin@{colour}"]' in host
    assert f'user = "{unit["User"]}"' in host
    # /metrics tells of releases by the audit that the deployer writes.
    settings = (DEPLOY / "settings.env").read_text(encoding="utf-8")
    assert "KVB_DATA_DIR=/var/lib/kvb-admin\n" in settings
    assert 'audit = "/var/lib/kvb-admin/deploy_ops"' in host
    link = (DEPLOY / "systemd" / "kvb-admin-link.service").read_text(encoding="utf-8")
    assert "/var/lib/kvb-admin-deploy/active" in link
    assert 'state = "/var/lib/kvb-admin-deploy"' in host


def test_application_deployer_and_prometheus_read_one_token_that_the_page_makes():
    token = str(read_host(REPOSITORY).metrics_token_file)
    variables = read_environment([DEPLOY / "settings.env"])
    assert variables["DEPLOY_OPS_METRICS_TOKEN_FILE"] == token
    user = read(DEPLOY / "systemd" / "kvb-admin@.service")["Service"]["User"]
    host = (REPOSITORY / "docs/howto/set-up-a-host.md").read_text(encoding="utf-8")
    assert f"install -o {user} -m 0600 /dev/null {token}\n" in host
    assert f"openssl rand -hex 32 > {token}\n" in host
    prometheus = (REPOSITORY / "docs/howto/alerts-and-dashboard.md").read_text(encoding="utf-8")
    copied = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    file = copied["scrape_configs"][0]["authorization"]["credentials_file"]
    assert f"install -m 0600 -o prometheus {token} {file}\n" in prometheus


def test_renewals_are_answered_from_where_the_first_certificate_was():
    conf = (DEPLOY / "nginx/kvb-admin.conf").read_text(encoding="utf-8")
    (root,) = re.findall(r"acme-challenge/ \{\s+root (\S+);", conf)
    for name in ("set-up-a-host.md", "run-in-containers.md"):
        page = (REPOSITORY / "docs/howto" / name).read_text(encoding="utf-8")
        assert re.findall(r"certbot certonly (.*) -d", page) == [f"--webroot --webroot-path {root}"]


def test_nginx_is_ready_for_the_first_release_on_the_page():
    """deploy.sh uses it through nginx, whose first site may be the only default one of its port."""
    page = (REPOSITORY / "docs/howto/set-up-a-host.md").read_text(encoding="utf-8")
    steps = (
        "certbot certonly",  # answered by the site that goes next
        "rm /etc/nginx/sites-enabled/default",
        "install -m 0644 deploy/nginx/kvb-admin.conf /etc/nginx/conf.d/",
        "nginx -t",
        "systemctl reload nginx",
        "./deploy.sh v1.0.0",
    )
    found = [page.index(f"   {step}") for step in steps]
    assert found == sorted(found)


def test_gixy_finds_nothing(tmp_path):
    # The targets of proxy_pass are upstreams, whose addresses are sockets.
    argv = [Path(sys.executable).with_name("gixy"), "--skips", "missing_resolver"]
    config = tmp_path / "nginx.conf"
    config.write_text(f"http {{\nserver_tokens off;\ninclude {DEPLOY}/nginx/kvb-admin.conf;\n}}\n")
    done = subprocess.run([*argv, config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "No issues found" in done.stdout


def test_logs_are_rotated_as_logrotate_reads_it(tmp_path):
    text = (DEPLOY / "logrotate" / "kvb-admin").read_text(encoding="utf-8")
    logs = tmp_path / "log"
    logs.mkdir(mode=0o755)
    for name in ("app.log", "error.log"):
        (logs / name).write_text("a line\n")
    own = text.replace("/var/log/kvb-admin", str(logs)).replace("su kvb kvb", "su root root")
    config = tmp_path / "logrotate.conf"
    config.write_text(own.replace("create 0640 kvb kvb", "create 0640"))
    config.chmod(0o644)
    argv = [find_program("logrotate"), "--force", "--state", tmp_path / "state", config]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in logs.iterdir()} == {
        "app.log", "app.log.1", "error.log", "error.log.1"
    }  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name):
    argv = [Path(sys.executable).with_name("shellcheck"), REPOSITORY / name]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_prunes_by_itself_deletes():
    """Without --delete it only says what it would delete, and the disk fills up."""
    lines = [
        line
        for path in DEPLOY.rglob("*")
        if path.is_file()
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"backups,? prune\b", line)
    ]
    assert len(lines) > 1 and [line for line in lines if "--delete" not in line] == []
