"""Installed in the project of the random changes: KILL_BEFORE=n ends a command at a statement."""

import itertools
import os
import signal

from django.apps import AppConfig
from django.db.backends.signals import connection_created


class RandomChangesConfig(AppConfig):
    """SIGKILL right before the n-th statement over Django's connections."""

    name = "tests.drills.random_changes"
    label = "random_changes"

    def ready(self) -> None:
        if number := os.environ.get("KILL_BEFORE"):
            _arm(int(number))


def _arm(number: int) -> None:
    count = itertools.count(1)

    def watch(execute, sql, params, many, context):
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(sql, params, many, context)

    def install(connection, **_):
        if watch not in connection.execute_wrappers:
            connection.execute_wrappers.append(watch)

    connection_created.connect(install, weak=False)
