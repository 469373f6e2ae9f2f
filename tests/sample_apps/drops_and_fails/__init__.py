"""A column is dropped and committed; then a migration fails."""
