"""A data migration with a true reverse."""
