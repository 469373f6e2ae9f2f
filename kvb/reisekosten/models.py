from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import FileExtensionValidator
from django.db import models
from django.db.models import Q
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from kvb.reisekosten.beleg import EXTENSIONS, validate_size
from kvb.reisekosten.monat import FIRST_DAY, LAST_DAY, Monat

EURO_JE_KM = Decimal("0.30")
CENT = Decimal("0.01")


def erstattung_of(km: Decimal) -> Decimal:
    """Reimbursement in EUR, rounded half up to cents, as accountants round."""
    return (km * EURO_JE_KM).quantize(CENT, ROUND_HALF_UP)


def validate_day(day: date) -> None:
    """ValidationError for a day that lies in no Monat, a year typed wrong most of the time."""
    if not FIRST_DAY <= day <= LAST_DAY:
        first, last = (date_format(day, "SHORT_DATE_FORMAT") for day in (FIRST_DAY, LAST_DAY))
        raise ValidationError(
            gettext("The date has to lie between %(first)s and %(last)s."),
            code="out_of_range",
            params={"first": first, "last": last},
        )


def validate_distance(km: Decimal) -> None:
    """ValidationError for a trip that leads nowhere."""
    if km <= 0:
        raise ValidationError(gettext("A trip has to be longer than 0 km."), code="no_distance")


class FahrtQuerySet(models.QuerySet["Fahrt"]):
    def im_monat(self, monat: Monat) -> FahrtQuerySet:
        return self.filter(datum__range=(monat.first_day, monat.last_day))


class Fahrt(models.Model):
    """One business trip by private car, paid back at EURO_JE_KM."""

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        # What was paid must stay explained: an account is deactivated, not deleted.
        on_delete=models.PROTECT,
        related_name="fahrten",
        verbose_name=_("person"),
        # The index on (person, datum) below begins with it.
        db_index=False,
    )
    datum = models.DateField(_("date"), validators=[validate_day])
    von = models.CharField(_("from"), max_length=100)
    nach = models.CharField(_("to"), max_length=100)
    km = models.DecimalField(
        _("kilometres"), max_digits=6, decimal_places=2, validators=[validate_distance]
    )
    # Kept and not computed when it is shown: under another rate only trips that are saved again
    # change.
    erstattung = models.DecimalField(
        _("reimbursement (EUR)"), max_digits=8, decimal_places=2, editable=False
    )
    zweck = models.CharField(_("purpose"), max_length=200)
    beleg = models.FileField(
        _("receipt"),
        upload_to="belege/%Y/%m/",
        max_length=255,
        blank=True,
        validators=[FileExtensionValidator(EXTENSIONS), validate_size],
    )

    objects = FahrtQuerySet.as_manager()

    class Meta:
        verbose_name = _("trip")
        verbose_name_plural = _("trips")
        ordering = ["datum", "id"]
        indexes = [models.Index(fields=["person", "datum"], name="reisekosten_fahrt_monat")]
        constraints = [
            models.CheckConstraint(condition=Q(km__gt=0), name="reisekosten_fahrt_km_positiv")
        ]

    def __str__(self) -> str:
        return f"{self.datum:%d.%m.%Y} {self.von} – {self.nach}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the trip with what is paid for its kilometres."""
        self.erstattung = erstattung_of(self.km)
        if "km" in (kwargs.get("update_fields") or ()):
            kwargs["update_fields"] = {*kwargs["update_fields"], "erstattung"}
        super().save(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Summe:
    """Totals of some trips: kilometres, and the EUR that are really paid.

    It adds the rounded amounts of `Fahrt.erstattung`, so that the total of a page is the total of
    its lines.
    """

    km: Decimal
    erstattung: Decimal

    @classmethod
    def of(cls, fahrten: Iterable[Fahrt]) -> Summe:
        zero = Decimal("0.00")
        pairs = [(fahrt.km, fahrt.erstattung) for fahrt in fahrten]
        return cls(sum((km for km, _ in pairs), zero), sum((euro for _, euro in pairs), zero))
