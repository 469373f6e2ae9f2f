"""Programs that some tests drive and a developer may not have: `make test` installs them with apt.

A missing one is a skip; REQUIRE_PROGRAMS=true makes it a failure.
"""

import os
import shutil

import pytest

# Debian's servers lie where only root's PATH looks.
PATH = f"{os.environ['PATH']}:/usr/sbin"


def find_program(name: str) -> str:
    """The path of a program; skips the test (REQUIRE_PROGRAMS: fails it) where there is none."""
    if path := shutil.which(name, path=PATH):
        return path
    missing = f"NOT TESTED WITH {name.upper()}: it is not installed (scripts/dev_programs does)"
    if os.environ.get("REQUIRE_PROGRAMS") == "true":
        pytest.fail(f"REQUIRE_PROGRAMS is set. {missing}", pytrace=False)
    pytest.skip(missing)
