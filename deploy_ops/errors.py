"""The exception tree. The docstring of a class is its default message.

DeployOpsError                      exit code 1: refused, nothing changed
├── UsageError                      exit code 2: the command line names something that is not there
├── ConfigurationError              a DEPLOY_OPS_ setting or a directory is invalid
│   ├── NoDirectory                 where deploy_ops may write is not known, or no place for it
│   └── VersionRefused              psycopg or the server is older than deploy_ops works with
├── DatabaseUnavailable             the database server does not answer or does not let us in
├── PoolerRefused                   the connection goes through a transaction pooler
├── LockHeld                        another deployment step is running
├── LockLost                        our own deploy lock went away
├── JournalFailed                   exit code 4: the journal cannot be written
├── DatabaseLost                    exit code 4: the database went away in the middle of a run
├── ProgramError                    a program (pg_dump, pg_restore) failed or is missing
├── BackupError
│   ├── BackupNotFound
│   ├── BackupFailed                no backup was made
│   ├── PointFailed                 no safety point was made
│   │   └── PointTooSlow            it was cancelled, since nobody shall have to wait that long
│   ├── PointRefused                a safety point of that kind cannot be had here
│   ├── BackupCorrupt               a backup is not what its manifest says
│   ├── ArchiveFailed               WAL is not archived, or a base backup was not made
│   ├── BackupUnreadable            another version of deploy_ops made the backup
│   └── BackupUntrusted             no key of this host proves that a backup is ours
├── RestoreError
│   ├── RestoreRefused              a check before the restore failed
│   ├── RestoreFailed               the restore failed; the live database is untouched
│   └── SwapUnfinished              exit code 4: killed or cut off between the two names
│       └── RestoreUnfinished       exit code 4: swapped, and what comes after is missing
├── MigrationError
│   ├── PlanRefused                 the plan cannot be run as it is
│   ├── OtherMigrate                the project does not migrate by Django's command alone
│   ├── NotExclusive                the database cannot be closed to others
│   ├── MigrationFailed             one migration failed
│   ├── UnresolvedRun               an earlier run did not end and its session still works
│   ├── NotLossless                 undoing a migration would lose something
│   ├── TransactionEnded            a migration ended the transaction it was run in
│   ├── TransactionLeftOpen         a migration or a handler left a transaction open
│   ├── OperationNotFound           an operation of two phases stands in no migration file
│   ├── RehearsalFailed             a migration fails, or blocks too long, on the restored backup
│   ├── ContractRefused             what waits may not run, or not be skipped
│   ├── NoContractTable             the table of rows that wait for the contract is missing
│   ├── LockNotGranted              a lock was not granted in many short tries
│   ├── NeedsNoTransaction          an operation that works online stands in an atomic migration
│   ├── NotOnline                   what is asked for cannot be done without making others wait
│   ├── NotInTwoPhases              a change of the models has no safe form to be written in
│   ├── RowsInTheWay                rows break what is to be enforced
│   ├── PartiallyApplied            exit code 4: what an earlier run left is not known
│   └── Unfinished                  exit code 4: what comes after the migrations is missing
├── BackfillError
│   ├── UnknownBackfill             exit code 2: there is no backfill of that name
│   ├── BackfillRefused             it cannot be run here, or not now
│   │   └── NotInThisCode           the code that runs here has no operation of it
│   ├── BackfillFailed              exit code 4: a batch failed; those before it are committed
│   ├── BackfillBlocked             exit code 4: somebody else keeps rows locked
│   └── BackfillCancelled           exit code 4: somebody cancelled it on the way
├── FlagError
│   ├── UnknownFlag                 exit code 2: a flag that is not declared
│   ├── InvalidRules                rules for a flag that make no sense
│   ├── FlagConflict                somebody else changed the flag meanwhile
│   └── HistoryImmutable            a row of the history was to be changed or deleted
├── ReleaseError
│   ├── ReleaseRefused              the release cannot be deployed, and nothing has begun
│   ├── ReleaseFailed               exit code 3: it failed, and what served before it serves
│   ├── ReleaseUnfinished           exit code 4: manual intervention required
│   └── SmokeTestFailed             an instance does not do what it is for
├── HealthCheckFailed               a health check did not pass
└── Interrupted                     the operator stopped the command
"""

import inspect


class DeployOpsError(Exception):
    """The step was refused. Nothing was changed."""

    exit_code = 1

    def __init__(self, message: str | None = None, *, fact: str = "") -> None:
        """`fact` is what is wrong, for those that have nothing to change, nor to advise."""
        super().__init__(message or inspect.getdoc(type(self)))
        self.fact = fact or str(self)


class UsageError(DeployOpsError):
    """The command line names something that does not exist. Nothing was changed."""

    exit_code = 2


class ConfigurationError(DeployOpsError):
    """A setting of deploy_ops is invalid. Nothing was changed."""


class NoDirectory(ConfigurationError):
    """There is no directory that deploy_ops may write to. Nothing was changed."""


class VersionRefused(ConfigurationError):
    """A version is older than deploy_ops works with. Nothing was changed."""


class DatabaseUnavailable(DeployOpsError):
    """The database does not answer. Nothing was changed."""


class PoolerRefused(DeployOpsError):
    """The connection goes through a pooler in transaction mode. Nothing was changed."""


class LockHeld(DeployOpsError):
    """Another deployment step holds the deploy lock. Nothing was changed."""


class LockLost(DeployOpsError):
    """The connection that held the deploy lock is gone."""


class JournalFailed(DeployOpsError):
    """The journal cannot be written. Stopped before the next step."""

    exit_code = 4


class DatabaseLost(DeployOpsError):
    """The database went away in the middle of a run. What was committed stays."""

    exit_code = 4


class ProgramError(DeployOpsError):
    """A program failed."""

    def __init__(self, message: str | None = None, returncode: int | None = None) -> None:
        """`returncode` is None for a program that did not start, negative if a signal ended it."""
        super().__init__(message)
        self.returncode = returncode


class BackupError(DeployOpsError):
    """A backup could not be used. The database was not changed."""


class BackupNotFound(BackupError):
    """There is no such backup. Nothing was changed."""


class BackupFailed(BackupError):
    """No backup was made. The database was not changed."""


class PointFailed(BackupError):
    """No safety point was made. The database was not changed."""


class PointTooSlow(PointFailed):
    """The safety point was cancelled, since it took too long. The database was not changed."""


class PointRefused(BackupError):
    """A safety point of that kind cannot be had here. Nothing was changed."""


class BackupCorrupt(BackupError):
    """The backup is not what its manifest says. The database was not changed."""


class ArchiveFailed(BackupError):
    """The archive of the server is not complete. Nothing was changed."""


class BackupUnreadable(BackupError):
    """Another version of deploy_ops made the backup. Nothing was changed."""


class BackupUntrusted(BackupError):
    """No key of this host proves that the backup is ours. Nothing was changed."""


class RestoreError(DeployOpsError):
    """The restore did not take place. The live database was not changed."""


class RestoreRefused(RestoreError):
    """A check before the restore failed. Nothing was changed."""


class RestoreFailed(RestoreError):
    """The restore failed. The live database was not changed."""


class SwapUnfinished(RestoreError):
    """The swap of the two databases did not finish. Both are kept."""

    exit_code = 4


class RestoreUnfinished(SwapUnfinished):
    """The restored database is live, and what comes after the swap was not finished."""

    def __init__(self, message: str | None = None, *, previous_database: str = "") -> None:
        super().__init__(message)
        self.previous_database = previous_database


class MigrationError(DeployOpsError):
    """The migrations were not applied."""


class PlanRefused(MigrationError):
    """The plan cannot be run as it is. Nothing was changed."""


class OtherMigrate(MigrationError):
    """The project does not migrate by Django's command alone. Nothing was changed."""


class NotExclusive(MigrationError):
    """The database cannot be closed to others. Nothing was changed."""


class MigrationFailed(MigrationError):
    """A migration failed."""


class UnresolvedRun(MigrationError):
    """An earlier run did not end and needs a decision. Nothing was changed."""


class NotLossless(MigrationError):
    """Undoing the migrations would lose something, so they were not undone."""


class TransactionEnded(MigrationError):
    """The migration ended the transaction that it was run in. Set `atomic = False` in it."""


class TransactionLeftOpen(MigrationError):
    """A transaction was left open, and was rolled back. End each BEGIN with a COMMIT."""


class OperationNotFound(MigrationError):
    """An operation of two phases stands in no migration file."""


class RehearsalFailed(MigrationError):
    """The plan fails, or blocks others too long, on the backup. It was not run on the database."""


class ContractRefused(MigrationError):
    """What waits for the contract phase may not run yet. Nothing was changed."""


class NoContractTable(MigrationError):
    """The table of rows that wait for the contract phase is missing. Nothing was changed."""


class LockNotGranted(MigrationError):
    """A lock was not granted in many short tries. What was done before stays."""


class NeedsNoTransaction(MigrationError):
    """An operation that works online stands in an atomic migration. Nothing was changed."""


class NotOnline(MigrationError):
    """The change cannot be made without making others wait. Nothing was changed."""


class NotInTwoPhases(MigrationError):
    """A change of the models has no form that nobody waits for. Nothing was written."""


class RowsInTheWay(MigrationError):
    """Rows break what is to be enforced, which is not enforced now."""


class PartiallyApplied(MigrationError):
    """An earlier run ended in the middle of a migration. Nothing was changed now."""

    exit_code = 4


class Unfinished(MigrationError):
    """All migrations are committed, and what comes after them is missing."""

    exit_code = 4


class BackfillError(DeployOpsError):
    """The backfill was not run. Nothing was changed."""


class UnknownBackfill(BackfillError):
    """There is no such backfill. Nothing was changed."""

    exit_code = 2


class BackfillRefused(BackfillError):
    """The backfill cannot be run here. Nothing was changed."""


class NotInThisCode(BackfillRefused):
    """The code that runs here has no operation of that backfill. Nothing was changed."""


class BackfillFailed(BackfillError):
    """A batch failed, and nothing of it was written. The batches before it are committed."""

    exit_code = 4


class BackfillBlocked(BackfillError):
    """Others keep rows or the table locked. Batches that were written are committed."""

    exit_code = 4


class BackfillCancelled(BackfillError):
    """The backfill was cancelled. The batches before that are committed."""

    exit_code = 4


class FlagError(DeployOpsError):
    """The flag was not changed."""


class UnknownFlag(FlagError):
    """There is no such flag. Nothing was changed."""

    exit_code = 2


class InvalidRules(FlagError):
    """The rules make no sense. Nothing was changed."""


class FlagConflict(FlagError):
    """Somebody else changed the flag meanwhile. Nothing was changed now."""


class HistoryImmutable(FlagError):
    """The history of flags is only added to. Nothing was changed."""


class ReleaseError(DeployOpsError):
    """The release was not deployed."""


class ReleaseRefused(ReleaseError):
    """The release cannot be deployed. Nothing was changed."""


class ReleaseFailed(ReleaseError):
    """The release failed. What served before it serves."""

    exit_code = 3


class ReleaseUnfinished(ReleaseError):
    """The release failed, and it is not known what serves."""

    exit_code = 4


class SmokeTestFailed(ReleaseError):
    """The instance does not do what it is for."""


class HealthCheckFailed(DeployOpsError):
    """A health check did not pass."""


class Interrupted(DeployOpsError):
    """Stopped by the operator. Nothing was changed."""
