"""Runs what a page of the documentation tells its reader to type.

    ```console             commands behind `$ ` (continued behind `> `) with what they print; run in
                           one shell a page, in order, in a scratch copy of the project
    ```python title="FILE" (or any language) is written to FILE first
    ```sh and the others   are not run: they need another machine, root, or a server that stays

Printed lines are compared where the page shows any: `...` stands for anything, ids, times and
amounts for others of their kind. A command must end with 0, or the page shows `$ echo $?` next.
"""

import http.client
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("deploy_ops", "kvb", "scripts", "manage.py", ".gitignore")
HOME_OF_THE_PAGE = "/home/anna/kvb-admin"
BLOCK = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<body>.*?)^ *```$',
    re.M | re.S,
)
MARK = "\x1e"
# What differs from run to run, and the word that stands for it when the two are compared.
VARYING = {
    r"\d{8}T\d{6}Z-[0-9a-f]{8}": "ID",
    r"\d{8}T\d{6}Z(_[0-9a-f]{4})?": "TIME",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00": "TIME",
    r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?\b": "MOMENT",
    r"\b\d{4}-\d\d-\d\d\b": "DATE",
    r"\b[0-9A-F]+/[0-9A-F]+\b": "LSN",
    r"[ (]+\d+(\.\d+)? (s|min|minutes|MB|kB|trips)\b": " AMOUNT",
    r"^\d+ trips\b": "AMOUNT",
    r'"seconds": \d+(\.\d+)?': "SECONDS",
    r"\b[0-9a-f]{64}\b": "SHA256",
}


@dataclass(frozen=True)
class File:
    """A file that the reader is told to write."""

    path: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command with what the page shows of its output."""

    line: str
    shown: str
    may_fail: bool = False


@dataclass(frozen=True)
class Ran:
    """What it really did."""

    command: Command
    output: str
    code: int


def steps_of(page: str) -> list[File | Command]:
    """Everything on the page that can be done, in order."""
    steps: list[File | Command] = []
    for block in BLOCK.finditer(page):
        body = re.sub(f"^{block['indent']}", "", block["body"], flags=re.M)
        if block["language"] == "console":
            steps += _commands(body)
        elif block["file"]:
            steps.append(File(block["file"], body))
    return steps


def _commands(body: str) -> Iterator[Command]:
    parts = re.findall(r"^\$ (.*(?:\n> .*)*)\n((?:(?!\$ ).*\n)*)", body, re.M)
    for number, (line, shown) in enumerate(parts):
        asks = number + 1 < len(parts) and parts[number + 1][0] == "echo $?"
        yield Command(line.replace("\n> ", "\n"), shown, may_fail=asks)


def scratch_copy(directory: Path) -> Path:
    """A copy of the project that the reader would have cloned."""
    for name in PROJECT:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, directory / name, ignore=ignored)
        else:
            shutil.copy2(source, directory)
    for argv in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=clone"]):
        subprocess.run(["git", *argv], cwd=directory, env=environment(directory), check=True)
    return directory


def environment(directory: Path) -> dict[str, str]:
    """What a shell with the activated virtualenv has, and none of the developer's settings."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    person = {"NAME": "Anna", "EMAIL": "anna@example.org"}
    return {
        "PATH": path,
        "HOME": str(directory.parent),
        "LANG": "C.UTF-8",
        "APP_VERSION": "1.2.3",
        "PYTHONUNBUFFERED": "1",  # as on a terminal: what goes wrong stands after what led to it
        **{f"GIT_{who}_{what}": person[what] for who in ("AUTHOR", "COMMITTER") for what in person},
    }


def run_steps(
    steps: list[File | Command], directory: Path, env: dict[str, str], replaced: dict[str, str]
) -> list[Ran]:
    """Do all of it in one shell; `replaced` are texts of the page and what they are here."""
    script = "".join(_script(step, replaced) for step in steps)
    shell = subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    outputs = [part.rpartition("\n") for part in shell.stdout.split(MARK)[1:]]
    commands = [step for step in steps if isinstance(step, Command)]
    assert len(outputs) == len(commands), shell.stdout
    here = {there: shown for shown, there in replaced.items()} | {str(directory): HOME_OF_THE_PAGE}
    return [
        Ran(command, _translate(text + "\n" * bool(text), here), int(code))
        for command, (text, _, code) in zip(commands, outputs, strict=True)
    ]


def _script(step: File | Command, replaced: dict[str, str]) -> str:
    if isinstance(step, File):
        return f"cat >{step.path} <<'END OF FILE'\n{step.text}END OF FILE\n"
    line = _translate(step.line, replaced)
    return f"printf '{MARK}'; (exit ${{code:-0}})\n{line}\ncode=$?; printf '\\n%s' $code\n"


def _translate(text: str, replaced: dict[str, str]) -> str:
    for one, other in replaced.items():
        text = text.replace(one, other)
    return text


def is_like(shown: str, output: str) -> bool:
    """Whether the page shows what was printed; nothing shown matches everything."""
    if not shown.strip():
        return True
    parts = [re.escape(part) for part in _plain(shown).split("...")]
    return re.fullmatch(".*?".join(parts), _plain(output), re.S) is not None


def _plain(text: str) -> str:
    text = "\n".join(re.sub(r"(?<=\S) +", " ", line).rstrip() for line in text.strip().splitlines())
    for form, word in VARYING.items():
        text = re.sub(form, word, text, flags=re.M)
    return text


def status(port: int, path: str) -> int | None:
    """Of the answer to a GET; None where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds, a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
