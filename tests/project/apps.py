"""Installed only where a test asks for a fault (KILL_AT, RAISE_AT)."""

from django.apps import AppConfig


class FaultsConfig(AppConfig):
    """Arms the fault once every app is ready."""

    name = "tests.project"
    label = "faults"

    def ready(self) -> None:
        from tests.project import kill

        kill.arm()
