"""Migrations applied so that a failure costs nothing: plan, back up, apply, verify, recover."""
