"""PostgreSQL only: a unique index built concurrently on duplicates stays behind, invalid."""
