"""Migrations in two phases, written from the models: what makemigrations finds, rewritten."""

from deploy_ops.phases.generate.autodetector import TwoPhaseAutodetector
from deploy_ops.phases.generate.writer import TwoPhaseWriter

__all__ = ["TwoPhaseAutodetector", "TwoPhaseWriter"]
