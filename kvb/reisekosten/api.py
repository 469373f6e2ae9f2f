"""JSON of the person's own trips of one month. Other programs read it, so its shape is stable.

    GET /api/reisekosten/2025/11/            with the session cookie of a login

    200 {"jahr": 2025, "monat": 11,
         "fahrten": [{"id": 7, "datum": "2025-11-03", "von": "Köln", "nach": "Bonn",
                      "km": "28.50", "zweck": "Kunde", "erstattung": "8.55",
                      "beleg": "/reisekosten/fahrt/7/beleg/"}],
         "summe": {"km": "28.50", "erstattung": "8.55"}}
    401 {"error": "login required"}
    404 {"error": "no month 13"}
    405 {"error": "only GET and HEAD"}

Kilometres and EUR are strings with two decimals, because JSON numbers are binary floats in most
readers. `beleg` is the path of the download, or null. `fahrten` is sorted by date, then id.
"""

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from kvb.reisekosten.models import Fahrt, Summe
from kvb.reisekosten.monat import Monat


@never_cache
def monat_json(request: HttpRequest, jahr: int, monat: int) -> JsonResponse:
    if request.method not in ("GET", "HEAD"):
        return _refuse(405, "only GET and HEAD", Allow="GET, HEAD")
    if not request.user.is_authenticated:
        return _refuse(401, "login required")
    try:
        wanted = Monat(jahr, monat)
    except ValueError as error:
        return _refuse(404, str(error))
    fahrten = list(Fahrt.objects.filter(person=request.user).im_monat(wanted))
    return JsonResponse(_month_as_json(wanted, fahrten))


def _month_as_json(monat: Monat, fahrten: list[Fahrt]) -> dict[str, Any]:
    summe = Summe.of(fahrten)
    return {
        "jahr": monat.jahr,
        "monat": monat.monat,
        "fahrten": [_trip_as_json(fahrt) for fahrt in fahrten],
        "summe": {"km": f"{summe.km:.2f}", "erstattung": f"{summe.erstattung:.2f}"},
    }


def _trip_as_json(fahrt: Fahrt) -> dict[str, Any]:
    return {
        "id": fahrt.pk,
        "datum": fahrt.datum.isoformat(),
        "von": fahrt.von,
        "nach": fahrt.nach,
        "km": f"{fahrt.km:.2f}",
        "zweck": fahrt.zweck,
        "erstattung": f"{fahrt.erstattung:.2f}",
        "beleg": reverse("reisekosten:beleg", args=[fahrt.pk]) if fahrt.beleg else None,
    }


def _refuse(status: int, reason: str, **headers: str) -> JsonResponse:
    return JsonResponse({"error": reason}, status=status, headers=headers)
