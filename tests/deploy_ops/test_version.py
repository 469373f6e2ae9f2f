"""The version of the deployed application: the environment, the package, the checkout."""

import os
import subprocess

import django
import pytest

from deploy_ops import version
from deploy_ops.version import code_version


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("APP_VERSION", raising=False)
    code_version.cache_clear()
    yield
    code_version.cache_clear()


@pytest.fixture
def checkout(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings.BASE_DIR = tmp_path
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for argv in (
        ["init", "-q"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
        ["tag", "v1.2.3"],
    ):
        subprocess.run(["git", *identity, *argv], cwd=tmp_path, check=True)
    return tmp_path


def test_the_environment_decides(checkout, monkeypatch):
    monkeypatch.setenv("APP_VERSION", "2.0.0")
    assert code_version() == "2.0.0"


def test_an_installed_application_has_the_version_of_its_package(settings):
    settings.ROOT_URLCONF = "django.urls"
    assert code_version() == django.get_version()


def test_a_checkout_is_described(checkout):
    assert code_version() == "v1.2.3"
    (checkout / "file").touch()
    subprocess.run(["git", "add", "file"], cwd=checkout, check=True)
    code_version.cache_clear()
    assert code_version() == "v1.2.3-dirty"


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a checkout to another user needs root")
def test_a_checkout_of_another_user_is_described_as_well(checkout):
    for path in [checkout, *checkout.rglob("*")]:
        os.chown(path, 65534, 65534)
    assert code_version() == "v1.2.3"


def test_it_is_resolved_once(checkout, monkeypatch):
    code_version()
    monkeypatch.setattr(version.process, "run", lambda *args, **kwargs: pytest.fail("asked again"))
    assert code_version() == "v1.2.3"


def test_neither_package_nor_checkout_is_unknown(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    assert code_version() == "unknown"


def test_without_git_it_is_unknown(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    assert code_version() == "unknown"


PROJECT = """[project]
name = "shop"
version = "4.5.6"
"""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"VERSION": "1.2.3\nbuilt by CI\n"}, "1.2.3"),
        ({"pyproject.toml": PROJECT}, "4.5.6"),
        ({"VERSION": "1.2.3", "pyproject.toml": PROJECT}, "1.2.3"),
        ({"VERSION": "\n", "pyproject.toml": PROJECT}, "4.5.6"),
        ({"VERSION": b"\xff\xfe1", "pyproject.toml": PROJECT}, "4.5.6"),
        ({"pyproject.toml": "[project]\ndynamic = ['version']\n"}, "unknown"),
        ({"pyproject.toml": "[tool.black]\n"}, "unknown"),
        ({"pyproject.toml": "no TOML"}, "unknown"),
        ({"VERSION": ""}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_without_git_and_package_it_is_what_the_files_declare(
    settings, tmp_path, monkeypatch, files, expected
):
    settings.BASE_DIR = str(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, text in files.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert code_version() == expected


def test_git_is_asked_before_a_file_that_nobody_may_have_raised(checkout):
    (checkout / "VERSION").write_text("1.0.0")
    assert code_version() == "v1.2.3"
