"""A new partitioned table is filled; then a migration fails."""
