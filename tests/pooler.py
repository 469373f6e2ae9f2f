"""PgBouncer in front of a cluster of the tests."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.clusters import PostgresCluster, free_port
from tests.programs import find_program

START_SECONDS = 10


@contextmanager
def pooler(cluster: PostgresCluster, mode: str, user: str, **options: object) -> Iterator[int]:
    """Start one in that pool mode, which lets everybody in as `user`; its port."""
    program, port = find_program("pgbouncer"), free_port()
    directory = cluster.directory / f"pooler_{port}"
    directory.mkdir()
    directory.chmod(0o777)
    lines = ["[databases]", f"* = host={cluster.directory} port={cluster.port} user={user}"]
    lines += ["[pgbouncer]", "listen_addr = 127.0.0.1", f"listen_port = {port}"]
    lines += ["auth_type = any", f"pool_mode = {mode}", f"unix_socket_dir = {directory}"]
    lines += ["ignore_startup_parameters = extra_float_digits"]
    lines += [f"{name} = {value}" for name, value in options.items()]
    config, log = directory / "pgbouncer.ini", directory / "log"
    config.write_text("\n".join(lines) + "\n")
    account = {"user": "postgres"} if os.geteuid() == 0 else {}
    with log.open("w") as output:
        process = subprocess.Popen([program, config], stdout=output, stderr=output, **account)
    try:
        _wait_for(port, log)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait_for(port, log) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
