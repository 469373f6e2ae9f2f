"""What Prometheus reads: the numbers of the packages of deploy_ops, and django-prometheus' if it is
there.

page.py      the middleware, and exposition.py what it answers   access.py    who may ask
collectors.py  what the packages say (pure)        reading.py   asking them without waiting for long
workers.py   counting over all workers of a server failures.py  failed health checks

It needs the extra `deploy-ops[metrics]`; nothing else of deploy_ops imports this
package, but for its checks, which do without.
"""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.metrics.workers import absorb, count_in_own_directory, remove_own_directory
else:
    __getattr__ = import_when_asked(
        __name__,
        {
            "workers": ["absorb", "count_in_own_directory", "remove_own_directory"],
        },
    )

__all__ = [
    "absorb",
    "count_in_own_directory",
    "remove_own_directory",
]
