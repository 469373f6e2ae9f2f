import pytest
from django.core.files.base import ContentFile

NOVEMBER = "/api/reisekosten/2025/11/"


def test_month_has_exactly_the_documented_shape(as_anna, anna, bert, drive):
    later = drive(anna, "2025-11-20", "0.05", zweck="Zweite")
    first = drive(anna, "2025-11-03", "28.50", beleg=ContentFile(b"x", "a.pdf"))
    drive(anna, "2025-12-01")
    drive(bert)
    response = as_anna.get(NOVEMBER)
    assert response["Content-Type"] == "application/json"
    assert "no-store" in response["Cache-Control"]
    trip = {"von": "Köln", "nach": "Bonn"}
    assert response.json() == {
        "jahr": 2025,
        "monat": 11,
        "fahrten": [
            trip
            | {
                "id": first.pk,
                "datum": "2025-11-03",
                "km": "28.50",
                "zweck": "Kunde",
                "erstattung": "8.55",
                "beleg": f"/reisekosten/fahrt/{first.pk}/beleg/",
            },
            trip
            | {
                "id": later.pk,
                "datum": "2025-11-20",
                "km": "0.05",
                "zweck": "Zweite",
                "erstattung": "0.02",
                "beleg": None,
            },
        ],
        "summe": {"km": "28.55", "erstattung": "8.57"},
    }


def test_month_without_trips_has_the_same_shape(as_anna):
    assert as_anna.get(NOVEMBER).json() == {
        "jahr": 2025,
        "monat": 11,
        "fahrten": [],
        "summe": {"km": "0.00", "erstattung": "0.00"},
    }


def test_without_login_it_answers_401_in_json_for_every_month(client, db):
    for path in (NOVEMBER, "/api/reisekosten/2025/13/"):
        response = client.get(path)
        assert response.status_code == 401
        assert response.json() == {"error": "login required"}


@pytest.mark.parametrize(
    ("path", "error"),
    [("2025/13", "no month 13"), ("2025/0", "no month 0"), ("99999/1", "no year 99999")],
)
def test_what_is_no_month_answers_404_in_json(as_anna, path, error):
    response = as_anna.get(f"/api/reisekosten/{path}/")
    assert response.status_code == 404
    assert response.json() == {"error": error}


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_other_methods_answer_405_with_what_is_allowed(as_anna, method):
    response = getattr(as_anna, method)(NOVEMBER)
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"
    assert response.json() == {"error": "only GET and HEAD"}


def test_head_answers_like_get_without_a_body(as_anna):
    response = as_anna.head(NOVEMBER)
    assert response.status_code == 200
    assert response.content == b""
