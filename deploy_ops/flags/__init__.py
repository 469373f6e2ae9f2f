"""Feature flags: declared in settings, toggled in the database, read from memory."""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.flags.change import (
        Source,
        change_flag,
        last_change,
        stored_rules,
        undo_change,
    )
    from deploy_ops.flags.declaration import Flag
    from deploy_ops.flags.evaluation import (
        FlagRequiredMixin,
        aflag_enabled,
        evaluate_flag,
        flag_enabled,
        flag_required,
    )
    from deploy_ops.flags.overview import FlagOverview, flag_overview, flag_overviews
    from deploy_ops.flags.rules import Rules
    from deploy_ops.flags.state import Evaluation
    from deploy_ops.flags.testing import forget_flags, override_flag
else:
    __getattr__ = import_when_asked(
        __name__,
        {
            "change": ["Source", "change_flag", "last_change", "stored_rules", "undo_change"],
            "declaration": ["Flag"],
            "evaluation": [
                "FlagRequiredMixin",
                "aflag_enabled",
                "evaluate_flag",
                "flag_enabled",
                "flag_required",
            ],
            "overview": ["FlagOverview", "flag_overview", "flag_overviews"],
            "rules": ["Rules"],
            "state": ["Evaluation"],
            "testing": ["forget_flags", "override_flag"],
        },
    )

__all__ = [
    "Evaluation",
    "Flag",
    "FlagOverview",
    "FlagRequiredMixin",
    "Rules",
    "Source",
    "aflag_enabled",
    "change_flag",
    "evaluate_flag",
    "flag_enabled",
    "flag_overview",
    "flag_overviews",
    "flag_required",
    "forget_flags",
    "last_change",
    "override_flag",
    "stored_rules",
    "undo_change",
]
