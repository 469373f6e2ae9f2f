"""Routers of projects that keep tables apart."""


class Elsewhere:
    """The tables of deploy_ops are in no database that has an alias here."""

    def allow_migrate(self, db, app_label, **hints):
        return False if app_label == "deploy_ops" else None
