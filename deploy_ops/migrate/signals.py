"""pre_migrate and post_migrate, sent as Django's migrate command sends them (5.2)."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps as installed_apps
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import connections
from django.db.migrations.state import ModelState, ProjectState

from deploy_ops.databases import database_for
from deploy_ops.errors import MigrationFailed, TransactionLeftOpen
from deploy_ops.migrate.history import DjangoPlan
from deploy_ops.migrate.session import is_left_open
from deploy_ops.redact import error_text

# Django's own handlers and savepoints do no more than this.
READS = re.compile(r"\s*(SELECT|SHOW|SAVEPOINT|RELEASE|ROLLBACK)\b", re.IGNORECASE)


class Statements:
    """Whether a statement was executed that may change something, as an execute_wrapper."""

    may_have_written = False

    def __call__(self, execute: Callable[..., Any], sql: Any, *rest: Any) -> Any:
        self.may_have_written |= not READS.match(str(sql))
        return execute(sql, *rest)


def send_pre_migrate(
    alias: str, state: ProjectState, plan: DjangoPlan, statements: Statements
) -> None:
    """Send pre_migrate; contenttypes adds operations to the plan's migrations in it."""
    try:
        with connections[alias].execute_wrapper(statements), _nothing_left_open(alias):
            emit_pre_migrate_signal(0, False, alias, apps=state.apps, plan=plan)
    except Exception as error:  # pylint: disable=broad-exception-caught  # foreign handlers
        raise MigrationFailed(
            f"A pre_migrate handler failed: {type(error).__name__}: {error_text(error)}"
        ) from error


def send_post_migrate(alias: str, state: ProjectState, plan: DjangoPlan) -> None:
    """Send post_migrate with the real models' relations rendered, as its handlers expect."""
    state.clear_delayed_apps_cache()
    apps = state.apps
    with apps.bulk_update():
        keys = [(model.app_label, model.name_lower) for model in apps.real_models]
        for key in keys:
            apps.unregister_model(*key)
    apps.render_multiple([ModelState.from_model(installed_apps.get_model(*key)) for key in keys])
    try:
        with _nothing_left_open(alias):
            emit_post_migrate_signal(0, False, alias, apps=apps, plan=plan)
    except Exception as error:  # pylint: disable=broad-exception-caught  # foreign handlers
        raise MigrationFailed(
            f"A post_migrate handler failed: {type(error).__name__}: {error_text(error)}"
        ) from error


@contextmanager
def _nothing_left_open(alias: str) -> Iterator[None]:
    """Roll back what a handler has left open, failed or not; raises TransactionLeftOpen if not."""
    try:
        yield
        if is_left_open(database_for(alias)):
            raise TransactionLeftOpen
    finally:
        if is_left_open(database_for(alias)):
            connections[alias].close()
            connections[alias].connect()
