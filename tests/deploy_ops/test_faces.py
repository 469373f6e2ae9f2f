"""What packages export: it is there, it costs nothing before it is used, and no other is used."""

import ast
import subprocess
import sys
from importlib import import_module

import pytest

from tests.docs.console import ROOT
from tests.faces import FACES

MODULES = {
    "deploy_ops.lock",
    "deploy_ops.errors",
    "deploy_ops.progress",
    "deploy_ops.redact",
    "deploy_ops.version",
}


def imports_in(path) -> list[tuple[str, str]]:
    """Module and name of each `from ... import ...` of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return [(str(node.module), alias.name) for node in found for alias in node.names]


def run(program: str) -> str:
    argv = [sys.executable, "-c", program]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("package", FACES)
def test_every_exported_name_is_what_type_checkers_see(package):
    face = import_module(f"deploy_ops.{package}")
    imports = imports_in(ROOT / "deploy_ops" / package / "__init__.py")
    seen = {name: module for module, name in imports if module.startswith(face.__name__)}
    assert sorted(seen) == sorted(face.__all__)
    for name in face.__all__:
        assert getattr(face, name) is getattr(import_module(seen[name]), name)


@pytest.mark.parametrize("package", FACES)
def test_no_exported_name_is_that_of_a_module(package):
    """Importing the module would put it in the place of the name."""
    face = import_module(f"deploy_ops.{package}")
    modules = {path.stem for path in (ROOT / "deploy_ops" / package).iterdir()}
    assert not modules & set(face.__all__)


@pytest.mark.parametrize("package", FACES)
def test_what_is_not_exported_is_not_there(package):
    face = import_module(f"deploy_ops.{package}")
    with pytest.raises(AttributeError, match=f"'deploy_ops.{package}' has no attribute 'nothing'"):
        getattr(face, "nothing")


def test_importing_a_face_imports_nothing_else():
    names = ", ".join(f"deploy_ops.{package}" for package in FACES)
    loaded = run(
        f"import sys, {names}; print(*sorted(m for m in sys.modules if m.split('.')[0] in "
        "('django', 'deploy_ops', 'psycopg', 'prometheus_client')))"
    )
    ours = {"deploy_ops", "deploy_ops.exports", *(f"deploy_ops.{package}" for package in FACES)}
    assert set(loaded.split()) == ours


def test_settings_can_import_a_flag_before_django_is_set_up():
    loaded = "import sys; from deploy_ops.flags import Flag; Flag('x'); print(*sys.modules)"
    assert not {"deploy_ops.models", "deploy_ops.flags.store"} & set(run(loaded).split())


def test_flags_are_asked_for_by_modules_that_settings_import(tmp_path):
    """No model can be loaded there; views in such a module ask later."""
    (tmp_path / "shop.py").write_text(
        "from deploy_ops.flags import Flag, FlagRequiredMixin, aflag_enabled, evaluate_flag\n"
        "from deploy_ops.flags import flag_enabled, flag_required, override_flag\n"
        "SECRET_KEY, INSTALLED_APPS = 'x', ['deploy_ops']\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
        "DEPLOY_OPS_FLAGS = {'sale': Flag('Half price', default=True)}\n"
        "view = flag_required('sale')(lambda request: 'shown')\n"
    )
    said = run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'shop'\n"
        "import shop; print('deploy_ops.models' in sys.modules)\n"
        "import django; django.setup()\n"
        "from django.http import HttpRequest; print(shop.view(HttpRequest()))"
    )
    assert said.split() == ["False", "shown"]


def test_kvb_imports_only_what_is_exported():
    used = [pair for path in (ROOT / "kvb").rglob("*.py") for pair in imports_in(path)]
    for module, name in used:
        if module.startswith("deploy_ops") and module not in MODULES:
            assert module in {f"deploy_ops.{package}" for package in FACES}
            assert name in import_module(module).__all__
