"""PostgreSQL saved by its own programs."""
