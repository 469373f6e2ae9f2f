"""makemigrations as it would be without deploy_ops: Django's, or another app's."""

from pathlib import Path

from django.apps import apps
from django.core.management import find_commands, load_command_class
from django.core.management.base import BaseCommand
from django.core.management.commands import makemigrations


def other_makemigrations() -> type[BaseCommand]:
    """The class of the first app that has one, as Django chooses; deploy_ops is passed over.

    So what django-linear-migrations does after Django's command is done after ours too.
    """
    for config in apps.get_app_configs():
        commands = find_commands(str(Path(config.path, "management")))
        if config.name != "deploy_ops" and "makemigrations" in commands:
            return type(load_command_class(config.name, "makemigrations"))
    return makemigrations.Command
