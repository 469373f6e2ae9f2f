"""A pre_migrate handler writes a row; then a migration fails."""
