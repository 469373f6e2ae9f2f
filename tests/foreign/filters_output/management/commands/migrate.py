"""As pretix has it: the advice to run makemigrations is not shown."""

from django.core.management.base import OutputWrapper
from django.core.management.commands import migrate


class Quiet(OutputWrapper):
    """Leaves lines out."""

    def write(self, msg="", style_func=None, ending=None):
        """Write what is no advice."""
        if "makemigrations" not in msg:
            super().write(msg, style_func, ending)


class Command(migrate.Command):
    """Writes elsewhere, and does the same."""

    def __init__(self, stdout=None, stderr=None, **options):
        super().__init__(stdout, stderr, **options)
        self.stdout = Quiet(self.stdout)
