"""Adds a unique constraint on purpose; fails where two trips share one."""
