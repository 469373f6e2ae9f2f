"""Eight threads in each of two processes read while two editors change flags.

FLAGS_SECONDS=30 for a long run; it is 5 otherwise.
"""

import json
import os
import subprocess
import sys

from tests.project.runner import REPOSITORY

SECONDS = os.environ.get("FLAGS_SECONDS", "5")


def start(env: dict[str, str], *argv: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", *argv],
        cwd=REPOSITORY,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")
    return stdout


def test_no_exception_no_mixed_page_no_lost_update_and_one_final_state(database):
    settings = {"DJANGO_SETTINGS_MODULE": "tests.deploy_ops.flags.pages_settings"}
    env = os.environ | settings | {"DATABASE_URL": database.url}
    finish(start(env, "django", "migrate", "-v0"))

    pages = ("tests.deploy_ops.flags.pages",)
    readers = [start(env, *pages, "read", str(float(SECONDS) + 0.5)) for _ in range(2)]
    writer = start(env, *pages, "write", SECONDS)
    written, *read = [json.loads(finish(process)) for process in (writer, *readers)]

    assert [each["errors"] for each in (written, *read)] == [[], [], []]
    assert not any("mixed" in each["counts"] for each in read)
    assert all(set(each["counts"]) == {"all True", "all False"} for each in read)
    changed = written["counts"]["changed"]
    assert changed > 5 and written["counts"]["refused"] > 0
    [(entries, newest)] = database.query("SELECT count(*), max(version) FROM deploy_ops_flagchange")
    assert entries == newest == 2 * changed
    rows = database.query("SELECT everyone FROM deploy_ops_flagstate")
    state = [bool(everyone) for (everyone,) in rows]
    assert state in ([True, True], [False, False])
    assert all(each["final"] == state for each in (written, *read))
