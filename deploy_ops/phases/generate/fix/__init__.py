"""Migrations on disk that no known database has applied, rewritten into the safe form."""
