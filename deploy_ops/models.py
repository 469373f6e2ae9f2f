"""Columns and constraints. What the tables mean is in the packages that read them."""

from typing import Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from deploy_ops.errors import HistoryImmutable


class FlagState(models.Model):
    """The rules of one flag; a flag without a row is as it was declared."""

    name = models.CharField(_("name"), max_length=100, primary_key=True)
    everyone = models.BooleanField(_("everyone"), null=True, blank=True)
    percentage = models.DecimalField(
        _("percentage"), max_digits=5, decimal_places=2, null=True, blank=True
    )
    # Ids and names instead of foreign keys: django.contrib.auth need not be installed.
    users = models.JSONField(_("users"), default=list, blank=True)
    groups = models.JSONField(_("groups"), default=list, blank=True)
    # Lists of values by name; null where a release wrote that does not know the column yet.
    attributes = models.JSONField(_("attributes"), null=True, blank=True)
    staff = models.BooleanField(_("staff"), default=False)
    superusers = models.BooleanField(_("superusers"), default=False)
    starts_at = models.DateTimeField(_("from"), null=True, blank=True)
    ends_at = models.DateTimeField(_("until"), null=True, blank=True)
    # The version that its last change made: what an editor has seen, to tell a conflict by.
    revision = models.BigIntegerField(_("revision"), editable=False)

    class Meta:
        verbose_name = _("feature flag")
        verbose_name_plural = _("feature flags")
        ordering = ["name"]
        permissions = [("toggle_flag", "Can toggle feature flags")]
        constraints = [
            models.CheckConstraint(
                condition=Q(percentage__isnull=True) | Q(percentage__range=(0, 100)),
                name="deploy_ops_flagstate_percentage",
            ),
            models.CheckConstraint(
                condition=Q(starts_at__isnull=True)
                | Q(ends_at__isnull=True)
                | Q(starts_at__lt=F("ends_at")),
                name="deploy_ops_flagstate_dates",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class FlagVersion(models.Model):
    """One row that every change counts up, so that a look at it tells whether anything changed.

    `changed_at` belongs to the version: a restore rewinds the number, and the same number may then
    stand for something else.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.BigIntegerField(_("version"), default=0)
    changed_at = models.DateTimeField(_("changed at"), null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="deploy_ops_flagversion_one_row")
        ]

    def __str__(self) -> str:
        return str(self.version)


class KeptQuerySet(models.QuerySet["FlagChange"]):
    """Rows that are written once."""

    def update(self, **_values: Any) -> int:
        """Raise HistoryImmutable."""
        raise HistoryImmutable()

    def delete(self) -> tuple[int, dict[str, int]]:
        """Raise HistoryImmutable."""
        raise HistoryImmutable()


class FlagChange(models.Model):
    """One change of one flag, kept for good. Names are text: they outlive accounts and flags."""

    class Source(models.TextChoices):
        """The door through which a change came."""

        ADMIN = "admin", _("administration")
        CLI = "cli", _("command line")
        CODE = "code", _("code")

    flag = models.CharField(_("flag"), max_length=100)
    version = models.BigIntegerField(_("version"), unique=True)
    at = models.DateTimeField(_("time"), auto_now_add=True)
    by = models.CharField(_("changed by"), max_length=254)
    source = models.CharField(_("source"), max_length=5, choices=Source)
    reason = models.TextField(_("reason"), blank=True)
    # Rules.as_json(); null stands for no row, so that the declaration decided.
    old = models.JSONField(_("before"), null=True)
    new = models.JSONField(_("after"), null=True)

    objects: ClassVar[models.Manager["FlagChange"]] = KeptQuerySet.as_manager()

    class Meta:
        verbose_name = _("change of a flag")
        verbose_name_plural = _("changes of flags")
        ordering = ["-version"]
        default_permissions = ["view"]
        indexes = [models.Index(fields=["flag", "-version"], name="deploy_ops_flagchange_flag")]

    def __str__(self) -> str:
        return f"{self.flag} {self.version}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row; HistoryImmutable if it was there before."""
        if not self._state.adding:
            raise HistoryImmutable()
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> tuple[int, dict[str, int]]:
        """Raise HistoryImmutable."""
        raise HistoryImmutable()


class RelationField(models.TextField):  # type: ignore[type-arg]  # generic in the stubs only
    """A table by what it is, not by its name: PostgreSQL keeps it right when the table is renamed,
    and in a dump, which has the name, for the database that is restored.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        """`regclass`, as the reference page of PostgreSQL on object identifier types has it."""
        return "regclass" if connection.vendor == "postgresql" else "text"


class ContractRow(models.Model):
    """The part of a migration's operation that waits until no old release runs any more.

    Written in the transaction of the part that ran, so that a restore or a roll-back takes both.
    `path` is where the operation stands in its migration: its index, and below an operation that
    holds others theirs ("2", "2.0"). `operation` is it as source, by which a squashed migration
    that took it over is recognised. `waits_for` names the detached backfill that has to be done
    before; then all of the operation was put off, and not only its second half.
    """

    app = models.CharField(max_length=255)
    migration = models.CharField(max_length=255)
    path = models.CharField(max_length=50)
    relation = RelationField(null=True)
    operation = models.TextField()
    description = models.TextField()
    release = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)
    done_at = models.DateTimeField(null=True)
    skipped_because = models.TextField(default="")
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(default="")
    waits_for = models.TextField(default="", db_default="")

    class Meta:
        ordering = ["id"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["app", "migration", "path"], name="deploy_ops_contractrow_operation"
            )
        ]

    def __str__(self) -> str:
        return f"{self.app}.{self.migration} {self.path}"


class BackfillProgress(models.Model):
    """How far a backfill is, written in the transaction of each batch.

    Keys are lists of texts, one a column of the table's key. `cursor` is the last key that was
    given out, in a BackfillRange; `upper` is where the backfill ends, fixed when it begins.
    """

    name = models.CharField(max_length=300, unique=True)
    relation = RelationField()
    description = models.TextField()
    cursor = models.JSONField(null=True)
    upper = models.JSONField(null=True)
    rows_total = models.BigIntegerField(default=0)
    rows_read = models.BigIntegerField(default=0)
    rows_written = models.BigIntegerField(default=0)
    release = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)
    waits_for = models.TextField(default="")
    last_error = models.TextField(default="")

    class Meta:
        ordering = ["id"]
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class BackfillRange(models.Model):
    """Keys that were given out to be written.

    A worker holds the lock of the row while it works, and sets `written` in the transaction of the
    batch; the row goes when its numbers are added to the progress. One without `written` that
    nobody has locked was left by a worker that died, or was put off until `not_before`.
    """

    backfill = models.ForeignKey(BackfillProgress, models.CASCADE, related_name="ranges")
    lower = models.JSONField(null=True)
    upper = models.JSONField()
    rows = models.BigIntegerField()
    written = models.BigIntegerField(null=True)
    not_before = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.backfill_id}: {self.lower} to {self.upper}"


class Instance(models.Model):
    """When a release was last seen at work, by the processes of one program on one host.

    No data of anybody's: backups do not count it, and a write to it is none that a restore loses.
    """

    pk = models.CompositePrimaryKey("release", "host", "program")
    release = models.CharField(max_length=100)
    host = models.CharField(max_length=255)
    program = models.CharField(max_length=100)
    pid = models.IntegerField()
    first_seen = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.program} on {self.host}: {self.release}"


class Operations(ContractRow):
    """No table: what gives the operations page its place in the administration and its permission.

    A proxy, since dumpdata passes proxies over; it would ask for the table of an unmanaged model.
    """

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = _("operations")
        verbose_name_plural = _("operations")
