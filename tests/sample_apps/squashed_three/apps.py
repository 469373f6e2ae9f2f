from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SquashedThreeConfig(AppConfig):
    """Says that post_migrate came."""

    name = "tests.sample_apps.squashed_three"

    def ready(self) -> None:
        post_migrate.connect(note_it, sender=self)


def note_it(using, plan, **kwargs) -> None:
    """Writes a trip, once the place is there."""
    if any(migration.name == "0003_place" for migration, _ in plan):
        from tests.sample_apps.squashed_three.models import Trip

        Trip.objects.using(using).create(purpose="post_migrate", km=0)
