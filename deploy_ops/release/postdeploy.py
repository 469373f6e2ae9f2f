"""After the switch: what should hold now (R011, R012), and the release in the history."""

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from deploy_ops.advice import manage
from deploy_ops.errors import SmokeTestFailed
from deploy_ops.migrate.finish import remember
from deploy_ops.migrate.journal import new_run_id
from deploy_ops.migrate.procedure import plan_of
from deploy_ops.migrate.run import Request
from deploy_ops.release.client import Client
from deploy_ops.version import code_version


def look_after(alias: str, url: str) -> Iterator[CheckMessage]:
    """Say what is not as it should be after a release."""
    if missing := plan_of(Request(alias=alias)).migrations:
        first = missing[0][0]
        yield Error(
            f"{first.app_label}.{first.name} and so on ({len(missing)}) are not applied.",
            hint=f"Apply them:\n{manage('safe_migrate', alias=alias)}",
            id="deploy_ops.R011",
        )
    try:
        found = str(Client(url).get("/health/").json().get("version"))
    except SmokeTestFailed as error:
        found = str(error)
    if found.removeprefix("v") != code_version().removeprefix("v"):
        yield Error(
            f"{url} is answered by another version than {code_version()}: {found}.",
            hint="See which release gets the requests:\n    ./deploy.sh --status",
            id="deploy_ops.R012",
        )


def note_release(alias: str) -> None:
    """Add this release to the history with what it needs, also if it had nothing to migrate."""
    leaves = MigrationLoader(connections[alias]).graph.leaf_nodes()
    remember(new_run_id(), alias, None, [], leaves)
