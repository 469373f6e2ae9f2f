from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from kvb.reisekosten.models import Fahrt, Summe, erstattung_of


@pytest.mark.parametrize(
    ("km", "euro"),
    [
        ("28.50", "8.55"),
        ("0.01", "0.00"),
        ("0.05", "0.02"),  # 0.015: half a cent goes up, where Python's round() goes to even
        ("0.15", "0.05"),  # 0.045
        ("0.04", "0.01"),
        ("9999.99", "3000.00"),
    ],
)
def test_reimbursement_is_rounded_half_up_to_cents(km, euro):
    assert erstattung_of(Decimal(km)) == Decimal(euro)


def test_reimbursement_is_the_same_after_a_round_trip_through_the_database(anna, drive):
    trip = drive(anna, km="0.05")
    assert Fahrt.objects.get(pk=trip.pk).erstattung == Decimal("0.02")


def test_another_distance_is_another_reimbursement(anna, drive):
    trip = drive(anna, km="10")
    trip.km, trip.zweck = Decimal("20"), "not saved"
    trip.save(update_fields=["km"])
    saved = Fahrt.objects.get(pk=trip.pk)
    assert (saved.erstattung, saved.zweck) == (Decimal("6.00"), "Kunde")


def test_total_adds_what_is_paid_for_each_trip_not_the_rounded_total_of_kilometres(anna, drive):
    trips = [drive(anna, km="0.05"), drive(anna, km="0.05")]
    # 0.10 km would be 0.03 EUR.
    assert Summe.of(trips) == Summe(km=Decimal("0.10"), erstattung=Decimal("0.04"))


def test_total_of_no_trips_is_zero_with_two_decimals():
    assert str(Summe.of([]).km) == str(Summe.of([]).erstattung) == "0.00"


@pytest.mark.parametrize("km", ["0", "-1"])
def test_database_itself_refuses_a_trip_without_distance(anna, drive, km):
    with pytest.raises(IntegrityError, match="reisekosten_fahrt_km_positiv"), transaction.atomic():
        drive(anna, km=km)


def test_person_with_trips_cannot_be_deleted(anna, drive):
    drive(anna)
    with pytest.raises(ProtectedError):
        anna.delete()
