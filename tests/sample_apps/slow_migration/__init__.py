"""Adds a column, then takes SLOW_MIGRATION_SECONDS (30): time to be killed in."""
