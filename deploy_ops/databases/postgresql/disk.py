"""How much free space the server's disk has, where that can be told."""

import os
import shutil

import psycopg

from deploy_ops.databases.postgresql.server import Connection, scalar


def free_bytes(connection: Connection) -> int | None:
    """Free bytes where the server keeps its data; None where that cannot be told from here."""
    try:
        directory = scalar(connection, "SHOW data_directory")
    except psycopg.errors.InsufficientPrivilege:
        return None
    host = connection.info.host
    is_local = host.startswith("/") or host in ("", "localhost", "127.0.0.1", "::1")
    if not is_local or not os.path.isdir(directory):
        return None
    return shutil.disk_usage(directory).free
