"""What `smoke_test` does with the application: a person's day, on an account of its own."""

import re
from collections.abc import Iterator
from typing import Any

from django.contrib.staticfiles.storage import staticfiles_storage
from django.utils import timezone

from deploy_ops.flags import flag_enabled, flag_overview
from deploy_ops.release import Account, Client, flag_on_for, temporary_account
from kvb.reisekosten.models import Fahrt

TRIP = {"von": "Köln", "nach": "Bonn", "km": "28.50", "zweck": "Smoke-Test"}
PAGE_OF_TRIP = re.compile(r"/reisekosten/fahrt/(\d+)/")


def reisekosten(client: Client) -> Iterator[str]:
    """Log in, write a trip, see it, delete it."""
    with temporary_account(forget=_forget) as account:
        _log_in(client, account)
        yield "log in"
        today = timezone.localdate()
        month = f"reisekosten/{today.year}/{today.month}/"
        client.get("/reisekosten/fahrt/neu/")
        client.post("/reisekosten/fahrt/neu/", {"datum": today.isoformat(), **TRIP})
        found = PAGE_OF_TRIP.findall(client.get(f"/{month}").text)
        client.require(found, "the trip that was saved is not on the page of its month")
        yield "write a trip and see it"
        trips = client.get(f"/api/{month}").json()["fahrten"]
        paid = [trip["erstattung"] for trip in trips]
        client.require(paid == ["8.55"], f"28.50 km are paid back with {paid}")
        yield "read it as JSON"
        yield from _export(client, account, f"/{month}export.csv")
        client.get(f"/reisekosten/fahrt/{found[0]}/loeschen/")
        client.post(f"/reisekosten/fahrt/{found[0]}/loeschen/", {})
        left = client.get(f"/api/{month}").json()["fahrten"]
        client.require(not left, "the trip that was deleted is still there")
        yield "delete it"
        client.post("/abmelden/", {})
        yield "log out"
    if client.is_behind_proxy:
        client.get(staticfiles_storage.url("reisekosten/style.css"))
        yield "a static file"


def _export(client: Client, account: Account, path: str) -> Iterator[str]:
    """As its flag has it; where that is off, switched on for the account and off again."""
    if flag_enabled("csv_export", user=account.user):
        client.get(path)
        yield "CSV export, which is on"
        return
    client.get(path, expect=404)
    yield "CSV export, which is off"
    if flag_overview("csv_export").is_forced:
        return
    with flag_on_for(account, "csv_export"):
        client.get(path)
        yield "CSV export, switched on"
    client.get(path, expect=404)
    yield "CSV export, off again"


def _log_in(client: Client, account: Account) -> None:
    client.get("/anmelden/")
    fields = {"username": account.name, "password": account.password.reveal()}
    client.post("/anmelden/", fields)


def _forget(user: Any) -> None:
    Fahrt.objects.filter(person=user).delete()
