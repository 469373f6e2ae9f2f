from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BadPostMigrateConfig(AppConfig):
    """Announces a release to a search server that is away."""

    name = "tests.sample_apps.bad_post_migrate"

    def ready(self) -> None:
        post_migrate.connect(announce_notes, sender=self)


def announce_notes(plan, **kwargs) -> None:
    """Fails when 0002 has just been applied; setting up the previous release is left in peace."""
    if any(migration.name == "0002_note" and not backwards for migration, backwards in plan):
        raise ConnectionError("the search server does not answer")
