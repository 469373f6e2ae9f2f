"""Trips keep what is paid for them: the release before goes on working until the contract phase."""

from datetime import date
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction
from django.db.migrations.loader import MigrationLoader

from deploy_ops.phases.halves import note_start
from kvb.reisekosten.models import Fahrt, erstattung_of
from tests.conftest import POSTGRESQL


@pytest.fixture
def run(django_alias, settings, tmp_path):
    settings.DEPLOY_OPS_TWO_PHASE = True
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path / "ops")

    def command(*argv):
        note_start(django_alias)  # each is a process of its own otherwise
        call_command(*argv, database=django_alias, verbosity=0)

    for app in ("contenttypes", "auth", "deploy_ops", "sessions"):
        command("migrate", app)
    command("migrate", "reisekosten", "0001")
    return command


@pytest.fixture
def old(run, django_alias):
    """Trips as the release before knows them."""
    state = MigrationLoader(None).project_state(("reisekosten", "0001_initial"))
    person = state.apps.get_model("auth", "User").objects.using(django_alias).create(username="a")
    trips = state.apps.get_model("reisekosten", "Fahrt").objects.using(django_alias)

    def drive(km):
        ort = {"von": "Köln", "nach": "Bonn", "zweck": "Kunde"}
        return trips.create(person_id=person.pk, datum=date(2025, 11, 3), km=Decimal(km), **ort)

    drive.trips, drive.person = trips, person
    return drive


def column(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT km, erstattung FROM reisekosten_fahrt ORDER BY id")
        return [(Decimal(str(km)), Decimal(str(paid))) for km, paid in cursor.fetchall()]


@pytest.mark.parametrize("database", [POSTGRESQL[0]], indirect=True)
def test_old_code_works_until_the_contract_phase(run, old, django_alias):
    for km in ("0.01", "0.05", "28.50", "9999.99"):
        old(km)
    run("lint_migrations", "reisekosten", "--two-phase")
    run("safe_migrate", "--no-backup")
    assert column(django_alias) == [(km, erstattung_of(km)) for km, _ in column(django_alias)]

    edited, deleted = old("0.15"), old("7")  # the old release knows no such column
    assert Fahrt.objects.using(django_alias).get(pk=edited.pk).erstattung == Decimal("0.05")
    old.trips.filter(pk=deleted.pk).delete()
    edited.km = Decimal("100")
    edited.save()
    kept = {each.name: getattr(edited, each.name) for each in edited._meta.fields}
    del kept["id"], kept["person"]
    new = Fahrt(person_id=old.person.pk, **kept | {"km": Decimal("3")})
    new.save(using=django_alias)
    assert [each.km for each in old.trips.order_by("pk")][-2:] == [Decimal("100"), Decimal("3")]

    run("safe_migrate", "--phase", "contract", "--force", "--no-backup")
    assert column(django_alias)[-2:] == [
        (Decimal("100"), Decimal("30")),
        (Decimal("3"), Decimal("0.9")),
    ]
    with pytest.raises(IntegrityError), transaction.atomic(using=django_alias):
        old("1")  # nobody fills it any more
    run("migrate", "reisekosten", "0001")
    old("1")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_on_sqlite_the_database_rounds_as_the_application(run, old, django_alias):
    kilometres = [Decimal(cents) / 100 for cents in range(1, 2000)]
    one = old("1")
    rows = [type(one)(person_id=one.person_id, datum=one.datum, km=km) for km in kilometres]
    old.trips.bulk_create(rows)
    run("migrate")
    assert column(django_alias)[1:] == [(km, erstattung_of(km)) for km in kilometres]
