"""How gunicorn serves the application, in `make run`, Docker and systemd alike.

gunicorn executes this file (`--config kvb/app/gunicorn.conf.py`); options on the command line
win over it. The address comes from there, the number of workers from WEB_CONCURRENCY.
"""

# pylint: disable=invalid-name  # the names are gunicorn's

import os
import signal
from types import FrameType
from typing import Any

from deploy_ops.health import start_draining
from deploy_ops.metrics import absorb, count_in_own_directory, remove_own_directory

# gunicorn's gthread, whose held requests keep no thread. Threads, so that a request that waits for
# the database does not keep polls waiting as well.
worker_class = "deploy_ops.health.gunicorn_worker.HoldingWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 8
# gunicorn kills a worker whose main thread is silent this long; requests run in other threads.
timeout = 60
# nginx gives up on a request after 60 s, so none that is still wanted is cut off by a stop.
graceful_timeout = 65
# Longer than load balancers keep an idle connection (AWS ALB: 60 s), so that they close it first.
keepalive = 65
accesslog = "-"
logger_class = "deploy_ops.health.access_log.LoggerWithoutPolls"
# Its default path is the same for all instances of a user.
control_socket_disable = True

# Seconds for which a stopping instance says that it is not ready and still serves. Longer than a
# load balancer needs to notice: its interval times the failures it wants to see.
DRAIN_SECONDS = int(os.environ.get("DRAIN_SECONDS", "5"))


def on_starting(_server: Any) -> None:
    """In the master, before anything else."""
    count_in_own_directory()


def when_ready(server: Any) -> None:
    """In the master: on SIGTERM tell load balancers first, then stop; a second one stops at once.

    A reload (SIGHUP) also ends workers with SIGTERM, but the instance stays: so not in a worker.
    """

    def stop(_signal: int, frame: FrameType | None) -> None:
        signal.alarm(0)
        server.signal(signal.SIGTERM, frame)

    def drain(number: int, frame: FrameType | None) -> None:
        # After SIGUSR2 another master listens on the same socket: nobody has to be sent away.
        if server.reexec_pid or not DRAIN_SECONDS:
            stop(number, frame)
            return
        start_draining()
        signal.signal(signal.SIGTERM, stop)
        signal.alarm(DRAIN_SECONDS)

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, drain)


def child_exit(server: Any, worker: Any) -> None:
    """In the master, after a worker has gone: what it counted stays."""
    try:
        absorb(worker.pid)
    except OSError:  # gunicorn's master would end
        server.log.exception("The metrics of worker %s stay where they are", worker.pid)


def on_exit(_server: Any) -> None:
    """In the master, after everything else."""
    remove_own_directory()
