#!/usr/bin/env python3
"""Plays `systemctl enable --now`, `disable --now` and `is-active` for units of gunicorn.

It reads the unit files that lie beside it, and does of them what a test can see: the directory, the
variables, the command, SIGTERM to its main process and the time that it is given then. Nothing is
done as another user. A unit counts as started when its socket answers, as with Type=notify.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_SECONDS = 20


def read_unit(name):
    template, _, instance = name.partition("@")
    lines = (HERE / f"{template}@.service").read_text().replace("%i", instance).splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and line[0] not in "#["]
    return [(key.strip(), value.strip()) for key, value in pairs]


def variables(unit):
    found = {"PATH": os.environ["PATH"]}
    for key, value in unit:
        if key == "Environment":
            found |= dict(each.split("=", 1) for each in shlex.split(value))
        elif key == "EnvironmentFile":
            for line in Path(value).read_text().splitlines():
                if "=" in line:
                    name, text = line.split("=", 1)
                    found[name] = text
    return found


def pid_of(name):
    try:
        pid = int((HERE / f"{name}.pid").read_text())
        state = re.search(r"^State:\s+(\S)", Path(f"/proc/{pid}/status").read_text(), re.M)
        return pid if state and state[1] != "Z" else None
    except (OSError, ValueError):
        return None


def answers(path):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def start(name):
    if pid_of(name):
        return 0
    unit = read_unit(name)
    facts = dict(unit)
    argv = shlex.split(facts["ExecStart"])
    bind = next(each for each in argv if each.startswith("unix:")).removeprefix("unix:")
    with (HERE / f"{name}.log").open("a") as log:
        process = subprocess.Popen(
            argv,
            cwd=facts["WorkingDirectory"],
            env=variables(unit),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (HERE / f"{name}.pid").write_text(str(process.pid))
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            print(f"Job for {name}.service failed because the process exited.", file=sys.stderr)
            return 1
        if answers(bind):
            return 0
        time.sleep(0.02)
    return 1


def stop(name):
    pid = pid_of(name)
    if pid is None:
        return 0
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + float(dict(read_unit(name)).get("TimeoutStopSec", 90))
    while pid_of(name):
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.02)
    return 0


def main():
    verb, options = sys.argv[1], sys.argv[2:]
    name = options[-1]
    with (HERE / "calls.log").open("a") as log:
        log.write(f"{' '.join(sys.argv[1:])}\n")
    if verb == "enable" and "--now" in options:
        return start(name)
    if verb == "disable" and "--now" in options:
        return stop(name)
    if verb == "is-active":
        return 0 if pid_of(name) else 3
    return 2


if __name__ == "__main__":
    sys.exit(main())
