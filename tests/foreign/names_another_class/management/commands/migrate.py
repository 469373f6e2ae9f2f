"""What Django's documentation asks of who has an autodetector of their own: no code at all."""

from django.core.management.commands import migrate
from django.db.migrations.autodetector import MigrationAutodetector


class Autodetector(MigrationAutodetector):
    """Finds what Django's does."""


class Command(migrate.Command):
    """Nothing but data."""

    help = "Migrate."
    autodetector = Autodetector
