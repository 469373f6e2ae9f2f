"""A process that serves: it answers each line `NAME [user id]` on stdin with `on|off reason`.

As a request does, it looks for changes before each answer, outside any transaction. What is logged
goes to stderr.
"""

import logging
import sys

import django
from django.test import RequestFactory


class Somebody:
    is_authenticated = True

    def __init__(self, pk: str) -> None:
        self.pk = pk


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    django.setup()
    from deploy_ops.flags.evaluation import evaluate_flag  # pylint: disable=import-outside-toplevel

    print("ready", flush=True)
    for line in sys.stdin:
        name, *user = line.split()
        is_on, reason = evaluate_flag(name, RequestFactory().get("/"), *map(Somebody, user))
        print("on" if is_on else "off", reason, flush=True)


if __name__ == "__main__":
    main()
