from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import pre_migrate


class WritesBeforeItMigratesConfig(AppConfig):
    """Notes in a table of its own that a release begins."""

    name = "tests.sample_apps.writes_before_it_migrates"

    def ready(self) -> None:
        pre_migrate.connect(announce, sender=self)


def announce(plan, using, **kwargs) -> None:
    """Write a row when 0002 is about to be applied."""
    if any(migration.name == "0002_fails" for migration, _ in plan):
        with connections[using].cursor() as cursor:
            cursor.execute(
                "INSERT INTO writes_before_it_migrates_trip (purpose, km) VALUES ('begun', 0)"
            )
