"""Releases on a host: real git, gunicorn, nginx and PostgreSQL; only systemd is played."""
