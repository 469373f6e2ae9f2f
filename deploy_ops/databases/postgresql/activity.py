"""Who is connected to a database: the client programs, by the names that they gave themselves."""

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases.postgresql import own_sessions
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
