"""Without a transaction around it, rows are deleted, and the CHECK after it fails."""
