from datetime import date
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from kvb.reisekosten import demo
from kvb.reisekosten.models import Fahrt


def test_demo_person_can_log_in_and_sees_trips_of_this_and_the_last_month(client, db):
    demo.load_demo(date(2026, 11, 10))
    assert client.login(username=demo.LOGIN, password=demo.PASSWORD)
    days = set(Fahrt.objects.values_list("datum", flat=True))
    assert {day.month for day in days} == {10, 11}
    assert max(days) <= date(2026, 11, 10)


def test_second_run_adds_nothing(db, capsys):
    call_command("demo_data")
    trips = Fahrt.objects.count()
    call_command("demo_data")
    assert Fahrt.objects.count() == trips > 0
    assert "Added 0 trips of demo." in capsys.readouterr().out


def test_database_in_use_gets_no_demo_data_at_the_start(anna, drive):
    drive(anna)
    call_command("demo_data", "--if-empty", verbosity=0)
    assert Fahrt.objects.count() == 1


def test_many_rows_are_valid_trips_of_many_people(db):
    call_command("demo_data", "--rows", str(demo.BLOCK_ROWS + 1))
    assert Fahrt.objects.count() == demo.BLOCK_ROWS + 1
    assert Fahrt.objects.values("person").distinct().count() == demo.BULK_PEOPLE
    trip = Fahrt.objects.order_by("id").first()
    trip.full_clean()
    assert trip.km > Decimal(0) and trip.von != trip.nach


def test_settings_that_are_not_for_trying_refuse_the_published_password(db, settings):
    settings.DEMO_DATA_ALLOWED = False
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("demo_data")
    assert not Fahrt.objects.exists()
