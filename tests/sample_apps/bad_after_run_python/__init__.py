"""A data migration with a true reverse commits, then the release fails."""
