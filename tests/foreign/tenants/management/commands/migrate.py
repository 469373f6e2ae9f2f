"""Goes through the schemas of all tenants."""

from django.core.management.commands.migrate import Command as DjangosCommand
from django.db import connections

TENANTS = ("public", "north", "south")


class Command(DjangosCommand):
    """Makes the schemas, too."""

    def handle(self, *args, **options):
        """Migrate one schema after the other."""
        connection = connections[options["database"]]
        for schema in TENANTS:
            with connection.cursor() as cursor:
                cursor.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            connection.set_schema(schema)
            super().handle(*args, **options)
        connection.set_schema("public")
