"""Where the database stands in the history of migrations, and what one run has to do from there."""

from dataclasses import dataclass
from functools import cached_property

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from deploy_ops.migrate.plan import Key, Plan, Step

DjangoPlan = list[tuple[Migration, bool]]


class History:
    """Where in the history of migrations the database stands: Django's executor and state."""

    def __init__(self, executor: MigrationExecutor) -> None:
        self.executor = executor
        # A replaced migration leaves the graph once its squash takes over; it is still ours to run.
        self.by_key: dict[Key, Migration] = dict(executor.loader.disk_migrations or {})

    @cached_property
    def state(self) -> ProjectState:
        """The models as far as this run has come; slow to make, and not needed to do nothing."""
        return self._applied_state(self.executor)

    @classmethod
    def read(cls, connection: BaseDatabaseWrapper) -> "History":
        """Read migrations and recorder anew."""
        return cls(MigrationExecutor(connection))

    def is_current(self) -> bool:
        """Whether the database still has recorded what was read of it."""
        applied = MigrationRecorder(self.executor.connection).applied_migrations()
        return applied.keys() == self.executor.loader.applied_migrations.keys()

    def rewind(self) -> None:
        """Go back to what the database has recorded; an attempt that failed left its traces."""
        self.state = self._applied_state(MigrationExecutor(self.executor.connection))

    def migration(self, step: Step) -> Migration:
        """Return the one object of the migration, which pre_migrate handlers may have amended."""
        return self.by_key[step.key]

    def apply(self, step: Step) -> None:
        """Apply one migration."""
        _ = self.state.apps  # rendered before, as Django does, so that operations share it
        self.state = self.executor.apply_migration(self.state, self.migration(step))

    def unapply(self, step: Step) -> None:
        """Unapply one migration."""
        self.executor.loader.build_graph()
        self.state = self.executor.migrate([], plan=[(self.migration(step), True)])

    @staticmethod
    def _applied_state(executor: MigrationExecutor) -> ProjectState:
        # pylint: disable-next=protected-access  # Django's migrate calls it for its signals too
        state: ProjectState = executor._create_project_state(  # type: ignore[attr-defined]
            with_applied_migrations=True
        )
        return state


@dataclass(frozen=True, slots=True)
class Todo:
    """What one run has to do; `migrations` is Django's plan, empty for a contract."""

    history: History
    migrations: DjangoPlan
    plan: Plan
