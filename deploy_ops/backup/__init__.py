"""Backups and restores: taken, verified, listed, pruned, and put back beside the live database."""
