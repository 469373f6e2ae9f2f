"""What libpq makes of connection parameters, and how a program is given exactly the same.

Django gives libpq what DATABASES says; libpq adds what it finds in PGHOST and its like, in a
service file, in a password file, and at last its own defaults. A program that we start has a clean
environment, and may be of another build with other defaults. So libpq is asked for its answer once,
here, and the program is told all of it: whatever the settings were, both reach one server.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from deploy_ops.errors import ConfigurationError
from deploy_ops.lock_file import scratch_directory
from deploy_ops.places import state_directory
from deploy_ops.redact import Secret

# A value that libpq refuses, after it has put all parameters together and before it opens a
# socket. What the refused parameter would have been is found by refusing another one.
REFUSED = "refused-by-deploy-ops"
SERVICE = "deploy_ops"
# A session's name is each program's own; the service has become parameters.
NOT_PASSED_ON = frozenset({"service", "application_name", "fallback_application_name"})


def resolve(given: Mapping[str, str]) -> dict[str, str]:
    """Return every parameter that libpq would connect with, without connecting.

    The password is among them, also the one of a password file. Raises ConfigurationError with
    libpq's reason, such as a service that is not defined.
    """
    resolved = _ask(given, refused="channel_binding")
    other = _ask(given, refused="ssl_min_protocol_version")
    return resolved | {"channel_binding": other["channel_binding"]}


def _ask(given: Mapping[str, str], refused: str) -> dict[str, str]:
    try:
        conninfo = make_conninfo(**{**given, refused: REFUSED})
    except psycopg.ProgrammingError as error:
        raise _unusable(str(error)) from None
    attempt = pq.PGconn.connect_start(conninfo.encode())
    try:
        reason = attempt.error_message.decode(errors="replace")
        if REFUSED not in reason:
            raise _unusable(reason)
        found = {o.keyword.decode(): o.val.decode() for o in attempt.info if o.val is not None}
        if not found.get("host") and not found.get("hostaddr"):
            found["host"] = attempt.host.decode()  # the socket directory of this build
        if "," not in found.get("host", "") and attempt.password:
            # A line of the password file may hold for this database only, and the databases
            # beside it need the same password.
            found["password"] = attempt.password.decode()
            found.pop("passfile", None)
    finally:
        attempt.finish()
    return {name: value for name, value in found.items() if name not in (refused, *NOT_PASSED_ON)}


def _unusable(reason: str) -> ConfigurationError:
    fact = f"The connection settings cannot be used: {reason.strip()}"
    return ConfigurationError(
        f"{fact}. Nothing was changed. Look at DATABASES, and at PGSERVICE, PGSERVICEFILE and the "
        "other variables of PostgreSQL.",
        fact=fact,
    )


@contextmanager
def environment(
    parameters: Mapping[str, str], secrets: Mapping[str, Secret]
) -> Iterator[dict[str, str]]:
    """Yield the variables that make a program connect with these parameters.

    Secrets, and what has no variable, are in private files that go with the block.
    """
    variables = _variables()
    env = {variables[name]: value for name, value in parameters.items() if variables[name]}
    unnamed = {name: value for name, value in parameters.items() if not variables[name]}
    unnamed |= {n: v.reveal() for n, v in secrets.items() if n != "password"}
    if not unnamed and "password" not in secrets:
        yield env
        return
    with scratch_directory(state_directory("passwords")) as directory:
        if password := secrets.get("password"):
            escaped = password.reveal().replace("\\", "\\\\").replace(":", "\\:")
            env["PGPASSFILE"] = _write(Path(directory, "pgpass"), f"*:*:*:*:{escaped}\n")
        if unnamed:
            lines = "".join(f"{name}={value}\n" for name, value in unnamed.items())
            env["PGSERVICEFILE"] = _write(Path(directory, "service"), f"[{SERVICE}]\n{lines}")
            env["PGSERVICE"] = SERVICE
        yield env


@cache
def secret_parameters() -> frozenset[str]:
    """Names of the parameters whose values must never be shown."""
    options = pq.Conninfo.get_defaults()
    return frozenset(o.keyword.decode() for o in options if o.dispchar == b"*") | {
        "scram_client_key",
        "scram_server_key",
    }


def known_parameters() -> frozenset[str]:
    """Names of all connection parameters."""
    return frozenset(_variables())


@cache
def _variables() -> Mapping[str, str]:
    """libpq's connection parameters and the environment variable of each, empty if it has none."""
    return {
        option.keyword.decode(): option.envvar.decode() if option.envvar else ""
        for option in pq.Conninfo.get_defaults()
    }


def _write(path: Path, content: str) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    return str(path)
