"""A column, a table and code that can be undone; then a migration fails."""
