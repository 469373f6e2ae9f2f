"""Every option of every command, given what it does not expect: a sentence, never a traceback."""

import argparse
from importlib import import_module
from pkgutil import iter_modules

import pytest
from django.core.management.base import CommandError

from deploy_ops.management import commands
from deploy_ops.management.base import OpsCommand

NUMBERS = ["-1", "0", "99999", "1e9", "nan", "inf", "²", "٣", "9" * 5000, "0x10"]
WORDS = [
    "",
    " ",
    "\0",
    "\udcff",
    "ü" * 40,
    "x" * 10_000,
    "../../etc/passwd",
    "'; DROP TABLE trip; --",
]
URLS = ["http://[::1", "http://[::1]:99999", "http://:x", "//", "http://\udcff", "ftp://host/"]
DAYS = ["31.02.2026", "2026-02-31", "2026-13-01T25:61", "10000000000000000000000 h", "-5m"]
GARBAGE = NUMBERS + WORDS + URLS + DAYS

NAMES = sorted(module.name for module in iter_modules(commands.__path__))
FIRST = {  # what a command needs before it looks at an option
    "rollback": ("--to", "v1.0.0"),
    "postdeploy": ("--url", "http://127.0.0.1:1"),
    "smoke_test": ("--url", "http://127.0.0.1:1"),
}
NEEDED = {"name": "csv_export", "id": "latest"}  # of an action such as `flags set`
OF_DJANGO = {"settings", "pythonpath"}  # it reads them before it reads the command
WRITES_CODE = {"makemigrations", "make_two_phase", "lint_migrations"}


def command(name):
    return import_module(f"{commands.__name__}.{name}").Command()


def parsers_of(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers_of(each)


def of_ours():
    return [name for name in NAMES if isinstance(command(name), OpsCommand)]


@pytest.mark.parametrize("name", NAMES)
def test_types_refuse_with_a_sentence(name):
    """As argparse asks them; what they accept goes on to the command."""
    asked = 0
    for parser in parsers_of(command(name).create_parser("manage.py", name)):
        for action in parser._actions:
            for word in GARBAGE if action.type or action.choices else ():
                asked += 1
                try:
                    parser._check_value(action, parser._get_value(action, word))
                except argparse.ArgumentError as refused:
                    assert len(str(refused)) < 12_000 and str(refused).strip()
    assert asked or name not in of_ours()


@pytest.mark.parametrize(
    "argv",
    [
        ("health", "--url", "http://[::1"),
        ("health", "--url", "http://[::1]:99999"),
        ("backup", "--label", "Stand \udcfc"),
        ("backup", "--label", "a\0b"),
        ("backup", "--jobs", "99999"),
        ("backup", "--jobs", "0"),
        ("restore", "latest", "--jobs", "99999"),
        ("restore", "\udcff"),
        ("restore", "latest", "--into", "\udcff"),
        ("flags", "on", "csv_export", "--reason", "\udcff"),
        ("flags", "set", "csv_export", "--user", "\udcff"),
        ("safe_migrate", "\udcff"),
        ("releases", "--limit", "9" * 30),
        ("releases", "--limit", "0"),
        ("runs", "--limit", "0"),
        ("predeploy", "--url", "https://[::1"),
        ("postdeploy", "--url", "https://[::1"),
        ("smoke_test", "--url", "https://[::1"),
    ],
    ids=ascii,
)
def test_bad_words_are_usage_errors(sqlite_project, argv):
    done = sqlite_project.run(*argv, check=2)
    assert "Traceback" not in done.stderr and len(done.stderr.strip()) > 20
    assert not any(sqlite_project.ops_dir.rglob("*.json*"))


def test_names_of_files_that_cannot_be_restored_into(sqlite_project):
    sqlite_project.database.execute("CREATE TABLE trip (id integer)")
    sqlite_project.run("backup", check=0)
    live = sqlite_project.database.path
    words = ["", ".", "..", "x" * 300, "x" * 250, "ü" * 200, "x" * 10_000, "no/such", "/proc/x"]
    for word in [*words, f"{live.name}-wal", f"{live.name}-journal", live.name, f"{live}/x"]:
        done = sqlite_project.run("restore", "latest", "--into", word, "--noinput", check=1)
        assert "Traceback" not in done.stderr and "hoose another name" in done.stderr, done
    assert [path.name for path in live.parent.iterdir()] == [live.name]


def texts():
    for name in sorted(set(of_ours()) - WRITES_CODE):
        parser = command(name).create_parser("manage.py", name)
        actions = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        for word, each in actions[0].choices.items() if actions else [(None, parser)]:
            needed = [
                NEEDED[arg.dest] for arg in each._actions if arg.dest in NEEDED and not arg.nargs
            ]
            first = (name, word, *needed) if word else (name, *FIRST.get(name, ()))
            for argument in each._actions:
                is_text = not argument.type and not argument.choices and argument.nargs != 0
                if is_text and argument.dest not in OF_DJANGO | set(NEEDED):
                    argv = (*first, *argument.option_strings[-1:])
                    yield pytest.param(argv, id=" ".join(argv))


@pytest.mark.parametrize("argv", [*texts()])
def test_text_that_means_nothing_is_no_crash(sqlite_project, argv):
    """Whatever it comes to, there is an exit code that the page knows and no traceback."""
    for word in ("x" * 10_000, "../../etc/passwd"):
        done = sqlite_project.run(*argv, word, "--noinput", timeout=30)
        assert done.code in (0, 1, 2, 3, 4), done
        assert "Traceback" not in done.stdout + done.stderr, done


def test_from_code_it_is_a_command_error():
    with pytest.raises(CommandError, match="not text in UTF-8"):
        command("doctor").handle(
            format="json",
            traceback=False,
            verbosity=1,
            database="default",
            strict=False,
            word="\udcff",
        )
