"""Which moment a restore is to go to, by the words of its command."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from deploy_ops import times
from deploy_ops.databases import database_for
from deploy_ops.errors import InvalidRules, RestoreRefused, UsageError
from deploy_ops.flags.moments import moment_in_zone
from deploy_ops.migrate.journal import Record, find_run, read_runs

if TYPE_CHECKING:
    from deploy_ops.restore.point_in_time import Moment

OPTIONS = ("to", "to_point", "before_run")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed: the option and its value."""

    option: str
    value: str

    @property
    def words(self) -> tuple[str, str]:
        """As they were typed."""
        return f"--{self.option.replace('_', '-')}", self.value

    def moment(self, alias: str) -> "Moment":
        """What that means; raises UsageError, RestoreRefused."""
        if database_for(alias).vendor != "postgresql":
            raise RestoreRefused(
                f"Database '{alias}' is SQLite, which has no write-ahead log that can be archived: "
                "only backups of it can be restored. Nothing was changed."
            )
        from deploy_ops.restore.point_in_time import Moment, moment_of_point  # needs psycopg

        if self.option == "to":
            return Moment(_read(self.value))
        if self.option == "to_point":
            return moment_of_point(alias, self.value)
        return _before_run(alias, find_run(self.value))


def wanted_moment(options: Mapping[str, Any]) -> Wanted | None:
    """The one that the options name; raises UsageError if that is not one restore alone."""
    given = [Wanted(name, options[name]) for name in OPTIONS if options[name] is not None]
    if len(given) + (options["id"] is not None) > 1:
        raise UsageError(
            "A backup, --to, --to-point and --before-run exclude each other: each says what is to "
            "be restored. Nothing was changed."
        )
    return given[0] if given else None


def _read(text: str) -> datetime:
    """A time with an offset, else in the zone of the project, where it has to exist, and once."""
    try:
        typed = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--to {text[:99]!r} is no time. Nothing was changed. It looks like "
            '"2026-11-26 08:15:03" or "2026-11-26 08:15:03+01".'
        ) from None
    if typed.tzinfo is not None:
        return typed
    try:
        return moment_in_zone(typed)
    except InvalidRules as error:
        raise UsageError(str(error)) from error


def _before_run(alias: str, run: str) -> "Moment":
    """Its restore point if it made one, else right before its first migration."""
    from deploy_ops.backup.methods import restore_point
    from deploy_ops.restore.point_in_time import Moment, moment_of_point

    name = restore_point.name_before(run)
    if name in {point.name for point in restore_point.points_of(alias)}:
        return moment_of_point(alias, name)
    [record] = [each for each in read_runs() if each.run == run]
    if (begun := _first_migration(record)) is None:
        raise UsageError(
            f"The journal of run {run} has no migration that was begun, so the run changed nothing "
            "that a restore could undo. Nothing was changed."
        )
    return Moment(begun, run=run)


def _first_migration(record: Record) -> datetime | None:
    begun = (each for each in record.steps if each["step"] == "migration_started")
    return times.moment(next(begun, {}).get("at"))
