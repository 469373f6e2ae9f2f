"""The deployment guide, walked: each command in it runs as it is typed there, or its row says why not.

`deployment-guide.md` beside this file is the guide as the operators have it, word for word.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.console import ROOT, environment

GUIDE = (Path(__file__).parent / "deployment-guide.md").read_text(encoding="utf-8")
ROWS = (ROOT / "docs/howto/from-the-deployment-guide.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.M | re.S)
# Lines of files that stand in a block of commands, and halves of the snippet that is run whole.
NO_COMMAND = re.compile(r"^[A-Za-z_]+=|^\[Service\]$|^}$|^    ")
SNIPPET = "python manage.py migrate || {"
# What `make test` and `make lint` run, in CI too.
MAKE = {
    "pytest": "test",
    "lint-imports": "lint",
    "black . --check": "lint",
    "pylint kvb/": "lint",
}
# In this order, in one clone, with the server of `make run`.
WALK = (
    "git checkout main",
    "git pull origin main",
    'git tag -a v1.2.3 -m "Release 1.2.3: CSV Export Feature"',
    "git push origin v1.2.3",
    "git fetch origin",
    "git checkout v1.2.3",
    "./scripts/backup.sh",
    "python manage.py migrate",
    "python manage.py collectstatic --noinput",
    "make restart-dev",
    "curl http://localhost:8000/health/",
    "curl http://localhost:8000/health/db/",
    "curl http://localhost:8000/api/reisekosten/2025/11/",
)


def commands(text: str = GUIDE) -> list[str]:
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    plain = [re.sub(r"(^|  )# .*$", "", line).rstrip() for line in lines]
    return [line for line in dict.fromkeys(plain) if line and not NO_COMMAND.search(line)]


def is_in_its_row(command: str) -> bool:
    return any(f"`{command}`" in line.split("|")[1] for line in ROWS.splitlines() if "|" in line)


def test_the_guide_is_read():
    assert len(commands()) > 35 and "sudo systemctl restart kvb-admin" in commands()
    assert commands("```bash\nls  # all\n# no\nA=1\nB=2\n```\n") == ["ls"]


@pytest.mark.parametrize("command", commands())
def test_every_command_is_run_or_has_its_row(command):
    if command in (*WALK, *MAKE, SNIPPET):
        return
    assert is_in_its_row(command), f"{command} stands in no row"


def test_no_row_is_left_to_the_reader():
    assert "as in the guide" not in ROWS and "not part of" not in ROWS


@pytest.mark.parametrize("command", MAKE)
def test_make_runs_it(command):
    target = MAKE[command]
    shown = subprocess.run(
        ["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, text=True
    ).stdout.replace('"', "")
    program, *rest = command.split()
    assert re.search(rf"(/|-m ){program}\b.*{' '.join(rest)}", shown), shown


@pytest.fixture
def walked(clone, served, tmp_path):
    """Runs a command as the guide has it typed, in the clone that is served."""
    env = environment(clone) | {"PORT": str(served), "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.curlrc").write_text(f'connect-to = "localhost:8000:127.0.0.1:{served}"\n')
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "scripts/dev_venv"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    (clone / ".venv/.runs").touch()
    with (clone / ".gitignore").open("a") as ignored:
        ignored.write("static/\nstaticfiles/\n")

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=clone,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run(
        "git branch -M main && git init --quiet --bare ../origin && git remote add origin ../origin"
    )
    run("git add -A && git commit --quiet -m files && git push --quiet origin main")
    return run


def test_walk(walked):
    printed = {command: walked(command) for command in WALK}

    health, database, month = (printed[each] for each in WALK[-3:])
    assert json.loads(health) == {"status": "ok", "version": "1.2.3"}
    assert json.loads(database) == {"status": "ok", "db": "connected"}
    assert "error" in json.loads(month) and is_in_its_row(WALK[-1])  # without a login
    assert "No migrations to apply" in printed["python manage.py migrate"]
    assert "Backup " in printed["./scripts/backup.sh"]

    page = (ROOT / "docs/development/git-workflow.md").read_text(encoding="utf-8")
    (hook,) = re.findall(r"^ln -s .*$", page, re.M)
    walked(hook)
    assert "loads the code anew" in walked("git push origin main 2>&1")


def test_snippet_of_the_last_section(walked):
    """It migrates, and its half after || is not needed."""
    (snippet,) = [block for block in BLOCK.findall(GUIDE) if SNIPPET in block]
    assert "Backup " in walked(snippet)
