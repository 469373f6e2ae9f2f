"""deploy/kubernetes/ as kustomize renders it, by the API's schemas; its commands are really run.

There is no cluster here: that one starts the pods, and the probes with them, was not tried.
"""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.commands import parse_command
from tests.deploy.dockerfile import stages
from tests.kvb.production import SECRET_KEY
from tests.project.runner import REPOSITORY

KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
SETS = ["overlays/staging", "overlays/production", "canary"]
# The oldest that has its fields, and the newest that the schemas know.
VERSIONS = ["1.29", "1.37"]
JOBS = ["expand", "backup", "drill", "prune", "contract"]


@pytest.fixture(scope="module", params=SETS)
def rendered(request, tmp_path_factory):
    """A set as a file and as objects."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("NOT RENDERED BY KUSTOMIZE: kubectl is not here")
    argv = [kubectl, "kustomize", KUBERNETES / request.param]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    path = tmp_path_factory.mktemp("rendered") / "all.yaml"
    path.write_text(text)
    return path, list(yaml.safe_load_all(text))


def sources():
    """What the files themselves say, for what needs no kustomize."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def pod_of(thing):
    spec = thing["spec"].get("jobTemplate", thing)["spec"]
    return spec["template"]["spec"]


def with_pods(things):
    return [each for each in things if each["kind"] in ("Deployment", "Job", "CronJob")]


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def named(kind, name):
    return next(
        each for each in sources() if (each["kind"], each["metadata"]["name"]) == (kind, name)
    )


def commands(name):
    """The argv of each container of a job, in their order."""
    pod = pod_of(named("Job" if name == "expand" else "CronJob", name))
    return [container["args"] for container in containers(pod)]


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_what_the_api_takes(rendered, version):
    argv = [Path(sys.executable).with_name("kubernetes-validate"), "--strict", "--no-warn"]
    done = subprocess.run(
        [*argv, "-k", version, rendered[0]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" passed ") == len(rendered[1])


def test_no_pod_may_more_than_it_needs(rendered):
    for thing in with_pods(rendered[1]):
        pod = pod_of(thing)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}
            assert container["image"].rpartition(":")[2] not in ("latest", "")


def test_every_pod_of_ours_is_the_user_of_the_image(rendered):
    user, group = map(int, stages()[-1].all("USER")[-1].split(":"))
    for thing in with_pods(rendered[1]):
        if thing["metadata"]["name"] != "static":
            context = pod_of(thing)["securityContext"]
            assert (context["runAsUser"], context["runAsGroup"]) == (user, group)
            # Else a mount would open private directories, which deploy_ops then refuses.
            assert context["fsGroupChangePolicy"] == "OnRootMismatch"


def test_every_object_belongs_to_a_step_of_the_release(rendered):
    steps = {each["metadata"]["labels"]["kvb-admin/step"] for each in rendered[1]}
    assert steps <= {"prepare", "expand", "serve"}


def test_every_claim_and_setting_is_there(rendered):
    names = {(each["kind"], each["metadata"]["name"]) for each in sources()}
    for thing in with_pods(rendered[1]):
        for volume in pod_of(thing)["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in names
        for container in containers(pod_of(thing)):
            for source in container.get("envFrom", []):
                assert ("ConfigMap", source["configMapRef"]["name"]) in names


def test_secrets_are_files():
    settings = named("ConfigMap", "kvb-admin")["data"]
    assert settings["SECRET_KEY_FILE"].startswith("/run/secrets/")
    assert settings["DATABASE_URL_FILE"].startswith("/run/secrets/")
    assert not [each for each in sources() if each["kind"] == "Secret"]


def test_probes_ask_what_each_is_for():
    (web,) = pod_of(named("Deployment", "web"))["containers"]
    paths = {
        name: web[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/health/", "liveness": "/health/", "readiness": "/health/ready/"}
    assert web["readinessProbe"]["timeoutSeconds"] >= 2  # an outage is told after 1.5 s


def test_a_pod_is_drained_before_it_is_told_to_stop(monkeypatch, tmp_path):
    pod = pod_of(named("Deployment", "web"))
    monkeypatch.setenv("DRAIN_SECONDS", named("ConfigMap", "kvb-admin")["data"]["DRAIN_SECONDS"])
    config = runpy.run_path(str(REPOSITORY / "kvb" / "app" / "gunicorn.conf.py"))
    *shell, line = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert "DEPLOY_OPS_DRAIN_FILE=/tmp/drain" in " ".join(stages()[-1].all("ENV"))
    subprocess.run(
        [*shell, line.replace("/tmp/", f"{tmp_path}/").replace("sleep 10", "true")], check=True
    )
    assert (tmp_path / "drain").exists()
    longest = 10 + config["DRAIN_SECONDS"] + config["graceful_timeout"]
    assert pod["terminationGracePeriodSeconds"] > longest


def test_a_pod_starts_what_the_image_starts():
    started = yaml.safe_load(stages()[-1].all("CMD")[-1])
    args = pod_of(named("Deployment", "web"))["containers"][0]["args"]
    assert args == [*started, "--bind", "unix:/tmp/web.sock"]


def test_the_service_finds_both_tracks_and_the_deployments_their_own():
    service = named("Service", "web")["spec"]["selector"]
    web = named("Deployment", "web")["spec"]
    assert service.items() <= web["template"]["metadata"]["labels"].items()
    assert "kvb-admin/track" not in service
    assert web["selector"]["matchLabels"]["kvb-admin/track"] == "stable"
    assert web["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    budget = named("PodDisruptionBudget", "web")["spec"]
    assert budget["selector"]["matchLabels"] == service


@pytest.mark.parametrize("name", JOBS)
def test_commands_are_there(name):
    for argv in commands(name):
        parse_command(argv[-1].split(" || ")[0].split() if argv[0] == "sh" else argv)


def test_expand_is_the_last_thing_that_its_job_does():
    names = [parse_command(argv) for argv in commands("expand")]
    assert names == ["collectstatic", "predeploy", "safe_migrate"]
    assert commands("expand")[-1][-3:] == ["--phase", "expand", "--noinput"]
    assert named("Job", "expand")["spec"]["backoffLimit"] == 0


@pytest.mark.timeout(900)
def test_all_commands_work_one_after_the_other(pg15, tmp_path):
    """As the pods start them, with what the ConfigMap and the image give them, on a real server."""
    run = Pod(tmp_path, pg15.url)
    for name in JOBS:
        for argv in commands(name):
            done = run(argv)
            assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    assert pg15.query("SELECT count(*) FROM reisekosten_fahrt") == [(0,)]
    assert list((tmp_path / "static").glob("staticfiles-1.2.3.json"))
    assert list((tmp_path / "backups").iterdir())


def test_contract_that_is_too_early_is_no_failure_and_one_that_fails_is(tmp_path):
    *shell, line = commands("contract")[0]
    for code, expected in ((0, 0), (1, 0), (3, 1), (4, 1)):
        (tmp_path / "python").write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / "python").chmod(0o755)
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        assert subprocess.run([*shell, line], env=env, check=False).returncode == expected


class Pod:
    """Runs argv with the files that the image has and the environment that it and the ConfigMap
    give, in own directories."""

    def __init__(self, directory, database_url):
        self.app = directory / "app"
        for name in ("kvb", "deploy_ops"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, self.app / name, ignore=ignored)
        for name in ("manage.py", "requirements.txt"):
            shutil.copy2(REPOSITORY / name, self.app)
        secrets = {"secret_key": SECRET_KEY, "database_url": database_url}
        for name, value in secrets.items():
            (directory / name).write_text(value)
        settings = named("ConfigMap", "kvb-admin")["data"]
        given = {
            name: value.replace("/run/secrets/kvb-admin", str(directory))
            for name, value in settings.items()
        }
        self.env = given | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(directory),
            "DJANGO_SETTINGS_MODULE": "kvb.app.settings_prod",
            "APP_VERSION": "1.2.3",
            "KVB_DATA_DIR": str(directory / "state"),
            "STATIC_ROOT": str(directory / "static"),
            "DEPLOY_OPS_BACKUP_DIR": str(directory / "backups"),
            "DEPLOY_OPS_DRAIN_FILE": str(directory / "drain"),
        }

    def __call__(self, argv):
        return subprocess.run(
            argv, cwd=self.app, env=self.env, capture_output=True, text=True, check=False
        )
