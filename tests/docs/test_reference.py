"""The reference names everything that the code has, and nothing that it has not."""

import argparse
import ast
import inspect
import json
import re
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import call_command, load_command_class

from deploy_ops import errors
from deploy_ops.backup.manifest import REQUIRED
from deploy_ops.conf import Conf, conf, known_names
from tests.docs.console import ROOT
from tests.faces import FACES

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
COMMANDS = (
    "archive",
    "backfill",
    "backup",
    "backups",
    "contract",
    "doctor",
    "flags",
    "health",
    "lint_migrations",
    "make_two_phase",
    "notify",
    "postdeploy",
    "predeploy",
    "releases",
    "restore",
    "rollback",
    "runs",
    "safe_migrate",
    "smoke_test",
)
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
MODULE_ROW = re.compile(r"^\| `([\w.]+)` \| (.*) \|$", re.M)
PYTHON_IMPORT = re.compile(r"from (deploy_ops[\w.]*) import ([\w, ]+)")
OPTION = re.compile(r"^\| `(--[a-z-]+)`", re.M)


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading, down to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def parsers(name: str) -> dict[str, argparse.ArgumentParser]:
    """The parser of a command and those of its actions, by what one types."""
    parser = load_command_class("deploy_ops", name).create_parser("manage.py", name)
    found = {name: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {f"{name} {word}": each for word, each in action.choices.items()}
    return found


def options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {
        option: action
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    }


DJANGOS = set(options_of(load_command_class("django.core", "check").create_parser("", "check")))
COMMON = {"--database", "--format", "--noinput", "--no-input"}
ALL_PARSERS = {typed: each for name in COMMANDS for typed, each in parsers(name).items()}


def test_every_command_is_in_the_reference():
    found = {path.stem for path in (ROOT / "deploy_ops/management/commands").glob("[!_]*.py")}
    assert found == {*COMMANDS, "makemigrations"}  # which has Django's options
    assert section(page("commands.md"), "makemigrations")


@pytest.mark.parametrize("typed", ALL_PARSERS)
def test_reference_has_the_options_that_the_command_has(typed):
    documented = set(OPTION.findall(section(page("commands.md"), typed)))
    known = set(options_of(ALL_PARSERS[typed])) - (DJANGOS - {"--database"})
    assert documented == known - COMMON


@pytest.mark.parametrize("typed", ALL_PARSERS)
def test_reference_has_the_common_options(typed):
    documented = OPTION.findall(section(page("commands.md"), "Options of all commands"))
    assert set(documented) == COMMON <= set(options_of(ALL_PARSERS[typed]))


@pytest.mark.parametrize("typed", ALL_PARSERS)
def test_reference_has_every_default_and_choice(typed):
    rows = dict(re.findall(r"^\| `(--[a-z-]+)`(.*)$", section(page("commands.md"), typed), re.M))
    for option, action in options_of(ALL_PARSERS[typed]).items():
        if option not in rows:
            continue
        for choice in action.choices or ():
            assert f"{choice}" in rows[option] or f"| `{choice}`" in page("commands.md")
        if isinstance(action.default, (int, str)) and not isinstance(action.default, bool):
            if action.default and action.default is not argparse.SUPPRESS:
                assert f"`{action.default}`" in rows[option], option


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("typed", "heading"),
    [
        ("flags list", "flags list"),
        ("flags who csv_export anna", "flags who"),
        ("safe_migrate", "safe_migrate"),
    ],
)
def test_reference_has_the_fields_of_the_json(typed, heading, capsys, django_user_model):
    django_user_model.objects.create_user("anna")
    call_command(*typed.split(), "--format", "json")
    answer = json.loads(capsys.readouterr().out)
    rows = [row for each in answer.values() if isinstance(each, list) for row in each]
    fields = {*answer, *(name for row in rows for name in row)}
    # In an example or a row of its own, not as a value in brackets.
    documented = re.findall(r'(?<!\()[`"](\w+)[`"]', section(page("commands.md"), heading))
    assert fields <= set(documented)


def test_every_setting_is_in_the_table_with_its_type_and_default(settings):
    for name in known_names():
        if hasattr(settings, name):
            delattr(settings, name)
    rows = re.findall(r"^\| \[`(\w+)`\]\(#(\w+)\) \| (.*?) \| (.*?) \|$", page("settings.md"), re.M)
    assert {name for name, *_ in rows} == known_names()
    spoken = {"BASE_DIR": Path(settings.BASE_DIR), "DEPLOY_OPS_STATE_DIR": conf.state_dir}
    spoken |= {"timedelta": timedelta, "DATABASES": settings.DATABASES}
    for name, anchor, _, default in rows:
        assert anchor == name.lower() and section(page("settings.md"), name)
        value = eval(default.strip("`"), {}, spoken)  # pylint: disable=eval-used  # our own page
        assert getattr(conf, name.removeprefix("DEPLOY_OPS_").lower()) == value


def test_every_setting_says_its_name_in_the_code():
    for name, member in vars(Conf).items():
        if isinstance(member, property):
            assert f"DEPLOY_OPS_{name.upper()}:" in (inspect.getdoc(member) or "")


def test_every_error_is_listed_with_its_exit_code():
    classes = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.DeployOpsError)
    }
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d) \|", page("exit-codes.md"), re.M))
    assert {name: int(code) for name, code in rows.items()} == classes


def test_every_finding_has_an_entry():
    sources = "".join(path.read_text() for path in (ROOT / "deploy_ops").rglob("*.py"))
    ids = set(re.findall(r'"(?:deploy_ops\.)?([A-Z]\d{3})"', sources))
    assert set(re.findall(r"^### ([A-Z]\d{3})$", page("findings.md"), re.M)) == ids


def test_every_manifest_field_is_described():
    table = page("manifest.md").partition("| field | meaning |")[2]
    fields = re.findall(r"^\| `([a-z_]+)` \|", table, re.M)
    assert set(fields) == set(REQUIRED)


def test_every_journal_step_is_described():
    rows = re.findall(r"^\| `([a-z_]+)` \|", page("journal.md"), re.M)
    assert set(rows) == recorded_steps()


def recorded_steps() -> set[str]:
    """First arguments of `journal.record(...)`."""
    found = set()
    for source in (ROOT / "deploy_ops/migrate").glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                if getattr(node.func, "attr", "") == "record":
                    found.add(node.args[0].value)
    return found


def test_architecture_names_every_module():
    tree = (DOCS / "explanation/architecture.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "deploy_ops").rglob("*.py")} - {"__init__"}
    assert {name for name in modules if not re.search(rf"\b{name}\b", tree)} == set()


def test_every_exported_name_is_in_the_reference():
    for package in FACES:
        rows = re.findall(
            r"^\| (`.*?) \|", section(page("python.md"), f"deploy_ops.{package}"), re.M
        )
        exported = import_module(f"deploy_ops.{package}").__all__
        assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(exported)


def test_modules_in_the_reference_have_the_names_that_it_lists():
    rows = MODULE_ROW.findall(section(page("python.md"), "Modules"))
    assert rows
    for module, names in rows:
        for name in re.findall(r"`(\w+)`", names):
            assert hasattr(import_module(module), name)


def test_paths_in_the_reference_lead_somewhere():
    listed = re.findall(
        r"`(deploy_ops[\w.]*)`", section(page("python.md"), "Named in configuration")
    )
    for path in listed:
        module, _, name = path.rpartition(".")
        assert name.islower() and find_spec(path) or hasattr(import_module(module), name)
    texts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "kvb/app").glob("*.py"))
    assert set(re.findall(r'"(deploy_ops[\w.]*)"', texts)) <= set(listed)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_import_only_what_is_exported(path):
    listed = dict(MODULE_ROW.findall(section(page("python.md"), "Modules")))
    for module, names in PYTHON_IMPORT.findall(path.read_text(encoding="utf-8")):
        is_face = module in {f"deploy_ops.{package}" for package in FACES}
        for name in re.findall(r"\w+", names):
            if is_face:
                assert name in import_module(module).__all__
            else:
                assert f"`{name}`" in listed[module]


def test_code_of_the_how_to_does_what_the_commands_do(sqlite_project):
    how_to = (DOCS / "howto/use-deploy-ops-in-your-project.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", section(how_to, "From code"), re.M | re.S)
    assert sqlite_project.run("migrate").code == 0
    sqlite_project.with_apps("good_expand")
    results = [sqlite_project.run("shell", "--no-imports", "-c", block) for block in blocks]
    assert [result.code for result in results] == [0, 0], results[0].stderr
    assert re.fullmatch(r"\w+-\w+ \w+", results[0].stdout.strip())
    assert re.fullmatch(r"ok 0 \w+-\w+", results[1].stdout.strip())


def test_every_decision_is_in_the_list_with_its_title():
    listed = (DOCS / "decisions/README.md").read_text(encoding="utf-8")
    for path in (DOCS / "decisions").glob("0*.md"):
        number, title = re.match(r"# (\d+)\. (.*)", path.read_text(encoding="utf-8")).groups()
        assert f"{number}. [{title}]({path.name})" in listed
        assert path.name.startswith(f"{int(number):04}-")


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    plain = (re.sub(r"\[(.*?)\]\(.*?\)|[`*]", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path):
    text = re.sub(r"^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        goal = (path.parent / file).resolve() if file else path
        assert goal.exists(), f"{path.name}: {target}"
        if anchor and goal.suffix == ".md":
            assert anchor in anchors(goal.read_text(encoding="utf-8")), f"{path.name}: {target}"
