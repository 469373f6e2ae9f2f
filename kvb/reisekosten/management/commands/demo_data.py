from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from kvb.reisekosten import demo
from kvb.reisekosten.models import Fahrt


class Command(BaseCommand):
    help = "Load a demo person with some trips, or with --rows many trips to measure with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, help="add this many random trips, by COPY")
        parser.add_argument("--if-empty", action="store_true", help="only if there is no trip yet")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not settings.DEMO_DATA_ALLOWED:
            raise CommandError(
                "The demo login has a published password, and these settings are not for trying."
                " Nothing was changed. Use kvb.app.settings_dev."
            )
        if options["if_empty"] and Fahrt.objects.exists():
            self.stdout.write("There are trips already, so no demo data was added.")
        elif options["rows"] is not None:
            demo.load_rows(options["rows"])
            self.stdout.write(f"Added {options['rows']} trips.")
        else:
            added = demo.load_demo(timezone.localdate())
            self.stdout.write(f"Added {added} trips of {demo.LOGIN}.")
        if demo.has_demo_person():
            self.stdout.write(f"Demo login: {demo.LOGIN}, password: {demo.PASSWORD}")
