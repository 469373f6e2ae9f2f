from datetime import date

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from kvb.reisekosten.beleg import MOST_BYTES
from kvb.reisekosten.models import Fahrt

FORM = {"datum": "2025-11-03", "von": "Köln", "nach": "Bonn", "km": "28,50", "zweck": "Kunde"}
NEW = "/reisekosten/fahrt/neu/"
NOVEMBER = "/reisekosten/2025/11/"


def receipt(name: str = "parkschein.pdf", size_bytes: int = 8) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, b"x" * size_bytes)


@pytest.mark.parametrize("path", ["/", NOVEMBER, NEW, "/reisekosten/fahrt/1/beleg/"])
def test_stranger_is_sent_to_the_login_and_back(client, db, path):
    response = client.get(path)
    assert response.status_code == 302
    assert response.url == f"/anmelden/?next={path}"


def test_login_leads_to_the_current_month_and_logout_back_to_the_login(client, anna):
    response = client.post("/anmelden/", {"username": "anna", "password": "anna"}, follow=True)
    today = timezone.localdate()
    assert response.redirect_chain[-1][0] == f"/reisekosten/{today.year}/{today.month}/"
    assert client.post("/abmelden/").url == "/anmelden/"
    assert client.get(NOVEMBER).status_code == 302


def test_wrong_password_is_answered_in_german_without_saying_what_was_wrong(client, anna):
    response = client.post("/anmelden/", {"username": "anna", "password": "berta"})
    assert "Die Anmeldung ist fehlgeschlagen." in response.text


def test_month_shows_own_trips_with_totals_in_german_notation(as_anna, anna, bert, drive):
    drive(anna, "2025-11-01", "1000.50", zweck="Messe")
    drive(anna, "2025-11-30", "0.05", zweck="Umzug")
    drive(anna, "2025-10-31", zweck="Vormonat")
    drive(anna, "2025-12-01", zweck="Folgemonat")
    drive(bert, "2025-11-01", zweck="Fremd")
    page = as_anna.get(NOVEMBER).text
    assert "Messe" in page and "Umzug" in page
    assert not any(other in page for other in ("Vormonat", "Folgemonat", "Fremd"))
    assert "Summe aus 2 Fahrten" in page
    assert "1.000,55 km" in page
    assert "300,17 €" in page


def test_month_links_to_its_neighbours(as_anna):
    page = as_anna.get("/reisekosten/2025/12/").text
    assert "/reisekosten/2025/11/" in page and "November 2025" in page
    assert "/reisekosten/2026/1/" in page and "Januar 2026" in page


def test_empty_month_says_so(as_anna):
    assert "Im November 2025 gibt es noch keine Fahrten." in as_anna.get(NOVEMBER).text


@pytest.mark.parametrize("path", ["/reisekosten/2025/13/", "/reisekosten/1999/1/", "/nirgends/"])
def test_what_is_no_month_is_not_found(as_anna, path):
    response = as_anna.get(path)
    assert response.status_code == 404
    assert "Nicht gefunden" in response.text


def test_created_trip_belongs_to_who_is_logged_in(as_anna, anna, media_root):
    response = as_anna.post(NEW, FORM | {"beleg": receipt()}, follow=True)
    trip = Fahrt.objects.get()
    assert trip.person == anna
    assert (media_root / trip.beleg.name).read_bytes() == b"xxxxxxxx"
    assert response.redirect_chain == [(NOVEMBER, 302)]
    assert "Die Fahrt wurde gespeichert." in response.text


def test_form_starts_with_today(as_anna):
    assert f'value="{timezone.localdate():%Y-%m-%d}"' in as_anna.get(NEW).text


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("km", "0", "Eine Fahrt muss länger als 0 km sein."),
        ("km", "viel", "Bitte eine Zahl eingeben."),
        ("km", "100000", "höchstens 4 Ziffern vor dem Komma"),
        ("datum", "0206-11-03", "Das Datum muss zwischen 01.01.2000 und 31.12.2049 liegen."),
        ("zweck", "", "Dieses Feld ist zwingend erforderlich."),
        ("beleg", receipt("virus.exe"), "Dateiendung"),
        (
            "beleg",
            receipt(size_bytes=MOST_BYTES + 1),
            "ein Beleg darf höchstens 5,0\xa0MB groß sein.",
        ),
    ],
)
def test_invalid_trip_is_not_saved_and_the_field_says_why(as_anna, field, value, message):
    page = as_anna.post(NEW, FORM | {field: value}).text
    assert not Fahrt.objects.exists()
    assert "Die Fahrt wurde nicht gespeichert." in page
    assert message in page
    assert 'aria-invalid="true"' in page


def test_receipt_may_be_exactly_as_big_as_allowed(as_anna):
    as_anna.post(NEW, FORM | {"beleg": receipt(size_bytes=MOST_BYTES)})
    assert Fahrt.objects.exists()


def test_edited_trip_moves_to_its_new_month_and_keeps_its_receipt(as_anna, anna, drive):
    trip = drive(anna, beleg=ContentFile(b"x", "alt.pdf"))
    response = as_anna.post(f"/reisekosten/fahrt/{trip.pk}/", FORM | {"datum": "2025-12-24"})
    changed = Fahrt.objects.get(pk=trip.pk)
    assert response.url == "/reisekosten/2025/12/"
    assert changed.datum == date(2025, 12, 24)
    assert changed.beleg == trip.beleg


def test_trip_whose_receipt_file_was_lost_can_still_be_corrected(as_anna, anna, drive):
    trip = drive(anna, beleg="belege/2025/11/verloren.pdf")
    as_anna.post(f"/reisekosten/fahrt/{trip.pk}/", FORM | {"zweck": "Berichtigt"})
    assert Fahrt.objects.get(pk=trip.pk).zweck == "Berichtigt"
    assert as_anna.get(f"/reisekosten/fahrt/{trip.pk}/beleg/").status_code == 404


def test_trip_is_deleted_only_after_confirmation(as_anna, anna, drive):
    trip = drive(anna)
    path = f"/reisekosten/fahrt/{trip.pk}/loeschen/"
    assert "03.11.2025 Köln – Bonn" in as_anna.get(path).text
    assert Fahrt.objects.exists()
    assert as_anna.post(path).url == NOVEMBER
    assert not Fahrt.objects.exists()


@pytest.mark.parametrize("name", ["bearbeiten", "loeschen", "beleg"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_trip_of_somebody_else_does_not_exist(as_anna, bert, drive, name, method):
    trip = drive(bert, beleg=ContentFile(b"x", "b.pdf"))
    response = getattr(as_anna, method)(reverse(f"reisekosten:{name}", args=[trip.pk]), FORM)
    assert response.status_code == (405 if (name, method) == ("beleg", "post") else 404)
    assert Fahrt.objects.get().zweck == "Kunde" and Fahrt.objects.get().person == bert


def test_receipt_is_downloaded_by_its_owner_and_by_staff(as_anna, anna, bert, drive):
    trip = drive(anna, beleg=ContentFile(b"%PDF", "parkschein.pdf"))
    bert.is_staff = True
    bert.save()
    as_staff = Client()
    as_staff.force_login(bert)
    for reader in (as_anna, as_staff):
        response = reader.get(f"/reisekosten/fahrt/{trip.pk}/beleg/")
        assert b"".join(response.streaming_content) == b"%PDF"
        assert response["Content-Disposition"].startswith("attachment")
        assert "no-store" in response["Cache-Control"]


def test_month_page_needs_the_same_few_queries_for_any_number_of_trips(
    as_anna, anna, drive, django_assert_num_queries
):
    for day in range(1, 29):
        drive(anna, f"2025-11-{day:02}")
    as_anna.get(NOVEMBER)  # a process reads the flags once
    with django_assert_num_queries(3):  # session, person, trips
        as_anna.get(NOVEMBER)


def test_admin_lists_and_shows_trips_with_reimbursement(admin_client, anna, drive):
    trip = drive(anna, km="28.50", beleg=ContentFile(b"x", "a.pdf"))
    for path in ("/admin/reisekosten/fahrt/", f"/admin/reisekosten/fahrt/{trip.pk}/change/"):
        page = admin_client.get(path).text
        assert "8,55" in page
        assert f"/reisekosten/fahrt/{trip.pk}/beleg/" in page
