"""SQL that commits for itself inside a migration with a transaction; then it fails."""
