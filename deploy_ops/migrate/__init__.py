"""Migrations: plan, back up, apply, verify, and recover from a failure."""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.migrate.ladder import OnFailure, Rung
    from deploy_ops.migrate.procedure import safe_migrate
    from deploy_ops.migrate.resume import Decision
    from deploy_ops.migrate.run import Recovery, Request, Result
else:
    __getattr__ = import_when_asked(
        __name__,
        {
            "ladder": ["OnFailure", "Rung"],
            "procedure": ["safe_migrate"],
            "resume": ["Decision"],
            "run": ["Recovery", "Request", "Result"],
        },
    )

__all__ = [
    "Decision",
    "OnFailure",
    "Recovery",
    "Request",
    "Result",
    "Rung",
    "safe_migrate",
]
