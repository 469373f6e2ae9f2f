import os
import signal
from concurrent.futures import ThreadPoolExecutor

from django.db import connection, connections, migrations, transaction

SQL = os.environ.get("FORWARDS", "SELECT 1")


def execute(alias="default"):
    """Do what the test has planned."""
    with connections[alias].cursor() as cursor:
        cursor.execute(SQL)


def in_a_thread():
    """The connections of a thread are its own."""

    def work():
        execute()
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


WAYS = {
    "itself": execute,
    "after its commit": lambda: transaction.on_commit(execute),
    "in a thread": in_a_thread,
    "over another alias": lambda: execute("again"),
}


def forwards(apps, schema_editor):
    """Do it in that way."""
    WAYS[os.environ.get("WAY", "itself")]()
    if "KILLED" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    if "FAILS" in os.environ:
        raise ValueError(os.environ.get("SPEAKS", "no rate for 2019"))


def backwards(apps, schema_editor):
    """Gives nothing back."""


class Migration(migrations.Migration):
    atomic = "NOT_ATOMIC" not in os.environ
    dependencies = [("unwound_by_belief", "0001_initial")]

    operations = [migrations.RunPython(forwards, backwards)]
