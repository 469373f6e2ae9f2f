"""Who is connected to a database: the client programs, by the names that they gave themselves."""

import socket

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases.postgresql import own_sessions
from deploy_ops.databases.postgresql.server import Connection
from deploy_ops.databases.values import ClientSession

# Everybody may see pid and application_name of any session, the rest only with pg_read_all_stats or
# of the same role: it is NULL then. Sessions of replication read no table of the application's.
CLIENTS = """
    SELECT pid, coalesce(application_name, ''), coalesce(host(client_addr), ''), backend_start
    FROM pg_stat_activity AS activity
    WHERE datname = current_database() AND usesysid IS NOT NULL AND leader_pid IS NULL
      AND coalesce(backend_type, 'client backend') = 'client backend'
      AND pid <> pg_backend_pid() AND NOT pid = ANY (%s::int[])
      AND NOT EXISTS (SELECT FROM pg_stat_replication AS replica WHERE replica.pid = activity.pid)
    ORDER BY backend_start NULLS FIRST, pid
"""


def client_sessions(connection: BaseDatabaseWrapper) -> list[ClientSession]:
    """The sessions of other processes in the connection's database, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(CLIENTS, [own_sessions.open_pids()])
        return [ClientSession(*row) for row in cursor.fetchall()]


# The address is NULL on a socket, and where one may not see it: then it is not known to be another.
ELSEWHERE = """
    SELECT coalesce(nullif(application_name, ''), 'a session') || ' from ' || host(client_addr)
        || ' (server process ' || pid || ')'
    FROM pg_stat_activity
    WHERE datname = current_database() AND usesysid IS NOT NULL
      AND NOT client_addr <<= ANY ('{127.0.0.0/8, ::1}'::inet[])
      AND client_addr IS DISTINCT FROM inet_client_addr()
      AND client_addr IS DISTINCT FROM inet_server_addr()
    ORDER BY pid
"""
HAS_HEARTBEATS = "SELECT to_regclass('deploy_ops_instance')"
# A process writes its row once a minute.
ALIVE_ELSEWHERE = """
    SELECT program || ' on ' || host || ', release ' || release
    FROM deploy_ops_instance WHERE host <> %s AND seen_at > now() - interval '2 minutes'
    ORDER BY host, program, release
"""


def clients_elsewhere(connection: Connection) -> list[str]:
    """Who uses the connection's database from other hosts than this process does."""
    found = connection.execute(ELSEWHERE).fetchall()
    if (connection.execute(HAS_HEARTBEATS).fetchone() or [None])[0]:
        found += connection.execute(ALIVE_ELSEWHERE, [socket.gethostname()]).fetchall()
    return [line for (line,) in found]
