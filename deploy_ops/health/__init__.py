"""What a load balancer and an operator ask: alive, connected, ready?"""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.health.draining import start_draining
else:
    __getattr__ = import_when_asked(
        __name__,
        {
            "draining": ["start_draining"],
        },
    )

__all__ = [
    "start_draining",
]
