"""Migrations in two phases, written from the models: what makemigrations finds, rewritten."""

from deploy_ops.phases.generate.autodetector import TwoPhaseAutodetector
from deploy_ops.phases.generate.fix.fixing import Fixed, Left, judge_pending
from deploy_ops.phases.generate.writer import TwoPhaseWriter, write_whole

__all__ = [
    "Fixed",
    "Left",
    "TwoPhaseAutodetector",
    "TwoPhaseWriter",
    "judge_pending",
    "write_whole",
]
