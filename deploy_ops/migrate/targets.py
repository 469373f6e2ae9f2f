"""From the words of the command line to Django's plan, and what the plan would touch."""

from django.apps import apps
from django.db import DataError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import AmbiguityError, InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor

from deploy_ops.advice import manage
from deploy_ops.errors import DatabaseUnavailable, PlanRefused, UsageError
from deploy_ops.migrate.history import DjangoPlan
from deploy_ops.redact import error_text, redact


def ensure_connection(connection: BaseDatabaseWrapper) -> None:
    """Open the connection; raises DatabaseUnavailable without any password in it."""
    try:
        connection.ensure_connection()
    except OperationalError as error:
        settings = connection.settings_dict
        place = f"{settings['NAME']} on {settings['HOST'] or 'localhost'}"
        raise DatabaseUnavailable(
            f"Database {place} cannot be reached:\n{redact(str(error)).strip()}\n"
            "Nothing was changed."
        ) from None


def load_executor(connection: BaseDatabaseWrapper) -> MigrationExecutor:
    """Read the migrations of the code and of the database; raises PlanRefused if they clash."""
    try:
        executor = MigrationExecutor(connection)
    except DataError as error:  # it asks for the names of all tables
        raise PlanRefused(
            f"Django cannot read the names in {connection.settings_dict['NAME']}: "
            f"{error_text(error)}. Nothing was changed. Rename what has a name in another encoding."
        ) from error
    try:
        executor.loader.check_consistent_history(connection)
    except InconsistentMigrationHistory as error:
        raise PlanRefused(f"{error}\nNothing was changed.") from error
    if conflicts := executor.loader.detect_conflicts():
        names = "; ".join(f"{app}: {', '.join(leaves)}" for app, leaves in conflicts.items())
        raise PlanRefused(
            f"Two migrations follow the same one ({names}), so their order is open. "
            "Nothing was changed. Join them:\n    python manage.py makemigrations --merge"
        )
    return executor


def django_plan(executor: MigrationExecutor, app: str | None, migration: str | None) -> DjangoPlan:
    """Return Django's plan for these targets; raises UsageError for names that do not exist."""
    plan: DjangoPlan = executor.migration_plan(_targets(executor, app, migration))
    return plan


def _targets(
    executor: MigrationExecutor, app: str | None, migration: str | None
) -> list[tuple[str, str | None]]:
    leaves = executor.loader.graph.leaf_nodes()
    if app is None:
        return list(leaves)
    check_app(executor, app)
    if migration is None:
        return [key for key in leaves if key[0] == app]
    if migration == "zero":
        return [(app, None)]
    return [(app, _find(executor, app, migration))]


def check_app(executor: MigrationExecutor, app: str) -> None:
    """Raise UsageError for an app that does not exist or has no migrations."""
    if app not in {config.label for config in apps.get_app_configs()}:
        raise UsageError(f"There is no app '{app}'. Nothing was changed. {_migrated(executor)}")
    if app not in executor.loader.migrated_apps:
        raise UsageError(
            f"App '{app}' has no migrations. Nothing was changed. {_migrated(executor)}"
        )


def _migrated(executor: MigrationExecutor) -> str:
    return f"Apps with migrations: {', '.join(sorted(executor.loader.migrated_apps))}."


def _find(executor: MigrationExecutor, app: str, prefix: str) -> str:
    try:
        return str(executor.loader.get_migration_by_prefix(app, prefix).name)
    except KeyError:
        reason = f"App '{app}' has no migration that starts with '{prefix}'."
    except AmbiguityError:
        reason = f"App '{app}' has more than one migration that starts with '{prefix}'."
    see = manage("showmigrations", app, alias=executor.connection.alias)
    raise UsageError(f"{reason} Nothing was changed. See them:\n{see}")
