"""Commands on every page, run or not, are commands that are there, with these options."""

import re
import shlex
from itertools import takewhile

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandError

from deploy_ops.release.host.__main__ import read_command_line
from tests.docs.console import ROOT

PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^ *```(?:sh|console|text|dockerfile)?\n(.*?)^ *```$", re.M | re.S)
# Inside a container the command is what follows the service, or a lone `--`.
ELSEWHERE = r"docker compose .*? |kubectl .*? -- "
COMMAND = re.compile(
    rf"^ *(?:\$ )?(?:[A-Z_]+=\S+ )*(?:sudo )?(?:{ELSEWHERE})?"
    r"(\./deploy\.sh|(?:\S*/)?python3? manage\.py|kvb-manage) (.*)$",
    re.M,
)
# What stands for something that the reader has.
PLACEHOLDER = re.compile(r"^[A-Z_]{2,}$|\.\.\.|\[|…")


def commands():
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for program, words in COMMAND.findall(block.replace("\\\n", " ")):
                argv = first_command(words)
                if not any(PLACEHOLDER.search(word) for word in argv):
                    name = page.relative_to(ROOT).as_posix()
                    yield pytest.param(program, argv, id=f"{name}: {' '.join(argv)}")


def first_command(line):
    """Its words, up to what the shell reads as the end of it."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    return list(takewhile(lambda word: word[0] not in "|&;<>()", words))


def with_our_alias(options):
    """A page may give its project a second database; ours has one."""
    after = zip(["", *options], options)
    return ["default" if before == "--database" else word for before, word in after]


@pytest.mark.parametrize(("program", "argv"), list(commands()))
def test_it_is_a_command_that_is_there(program, argv):
    if program == "./deploy.sh":
        read_command_line(argv)  # exits where it does not know one
        return
    name, *options = argv
    app = get_commands().get(name)
    assert app, f"there is no command {name}"
    parser = load_command_class(app, name).create_parser("manage.py", name)
    try:
        parser.parse_args(with_our_alias(options))
    except CommandError as error:
        pytest.fail(str(error))


def test_there_are_many():
    assert len(list(commands())) > 100
