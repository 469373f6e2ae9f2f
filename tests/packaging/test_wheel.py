"""deploy_ops as another Django project gets it: from a wheel, not from this checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    """stdout of a program that has to succeed."""
    needed = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8"}
    result = subprocess.run(
        command, cwd=cwd, env=needed, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    # Setuptools writes build/ and *.egg-info beside pyproject.toml: not into the checkout.
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("kvb", "deploy_ops"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", source)
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    run(sys.executable, *build, cwd=source)
    (path,) = out.glob("*.whl")
    return path


def test_wheel_has_every_file_of_deploy_ops_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "deploy_ops").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == expected
    assert "deploy_ops/py.typed" in packed


@pytest.fixture(scope="module")
def bare_project(wheel, tmp_path_factory) -> Path:
    """What startproject makes, with deploy_ops from the wheel and INSTALLED_APPS as only change."""
    directory = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "venv", cwd=directory)
    # The dependencies are those of this run; only deploy_ops itself has to come from the wheel.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = directory / "venv" / "lib" / version / "site-packages" / "dependencies.pth"
    borrowed.write_text(sysconfig.get_path("purelib"))
    python = directory / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=directory)
    run(python, "-m", "django", "startproject", "shop", ".", cwd=directory)
    with (directory / "shop" / "settings.py").open("a") as settings:
        settings.write('\nINSTALLED_APPS += ["deploy_ops"]\n')
    return directory


def test_bare_project_migrates_backs_up_and_restores(bare_project):
    def manage(*arguments: str) -> str:
        python = bare_project / "venv" / "bin" / "python"
        return run(python, "-W", "error", "manage.py", *arguments, cwd=bare_project)

    def people() -> str:
        code = "from django.contrib.auth.models import User as U; print(U.objects.count())"
        return manage("shell", "-v0", "-c", code).strip()

    def add_person(name: str) -> None:
        code = f"from django.contrib.auth.models import User as U; U.objects.create_user('{name}')"
        manage("shell", "-v0", "-c", code)

    manage("safe_migrate", "--noinput")
    add_person("anna")
    manage("backup", "--noinput")
    add_person("bert")
    assert people() == "2"
    manage("restore", "latest", "--noinput", "--confirm", "db.sqlite3")
    assert people() == "1"
    origin = "import deploy_ops; print(deploy_ops.__file__)"
    assert str(bare_project) in manage("shell", "-v0", "-c", origin)
