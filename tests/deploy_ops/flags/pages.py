"""Many threads make pages while others change flags: `pages.py read|write SECONDS`, JSON out.

The two flags are always changed together, so that a page with one of them is a mixed page.
"""

import json
import sys
import threading
import time
from collections import Counter

import django
from django.test import RequestFactory

THREADS = 8


class Work:
    """What the threads count together."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []

    def run(self, job, threads: int) -> None:
        """Repeat a job in threads until the time is over."""
        started = [threading.Thread(target=self._repeat, args=[job]) for _ in range(threads)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()

    def _repeat(self, job) -> None:
        from django.db import connection

        try:
            while time.monotonic() < self.end:
                self.counts[job()] += 1
        except Exception as error:  # reported to the test, which fails on any
            self.errors.append(repr(error))
        finally:
            connection.close()


def read_page() -> str:
    """One request: both flags, many times, with other threads in between."""
    from deploy_ops.flags.evaluation import flag_enabled
    from deploy_ops.flags.middleware import FlagsMiddleware

    seen = set()

    def view(request):
        from django.http import HttpResponse

        for _ in range(20):
            seen.add(flag_enabled("header", request))
            seen.add(flag_enabled("footer"))
            time.sleep(0.0005)
        return HttpResponse()

    FlagsMiddleware(view)(RequestFactory().get("/"))
    return "mixed" if len(seen) > 1 else f"all {seen.pop()}"


def write_both() -> str:
    """Flip both flags in one transaction, as one of several editors."""
    from django.db import transaction

    from deploy_ops.errors import FlagConflict
    from deploy_ops.flags.change import Source, change_flag, stored_rules
    from deploy_ops.flags.rules import Rules

    seen = {name: stored_rules(name) for name in ("header", "footer")}
    rules, _ = seen["header"]
    time.sleep(0.005)
    try:
        with transaction.atomic():
            for name, (_, revision) in seen.items():
                flipped = Rules(everyone=rules is None or not rules.everyone)
                change_flag(
                    name, flipped, expected_revision=revision, by="editor", source=Source.CODE
                )
    except FlagConflict:
        return "refused"
    return "changed"


def main() -> None:
    action, seconds = sys.argv[1], float(sys.argv[2])
    django.setup()
    work = Work(seconds)
    work.run(*{"read": (read_page, THREADS), "write": (write_both, 2)}[action])
    from deploy_ops.flags.evaluation import flag_enabled

    time.sleep(0.3)  # readers end a little before or after the writers
    final = [flag_enabled("header"), flag_enabled("footer")]
    print(json.dumps({"counts": work.counts, "errors": work.errors, "final": final}))


if __name__ == "__main__":
    main()
