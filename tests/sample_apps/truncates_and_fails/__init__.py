"""Code empties a table and writes to it; then a migration fails."""
