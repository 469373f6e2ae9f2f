"""The pages that people use every day, and the administration behind them."""

from datetime import date
from decimal import Decimal

import pytest

from kvb.reisekosten.models import Fahrt
from tests.browser.accessibility import problems

MONTH = "/reisekosten/2025/11/"


@pytest.fixture
def trip(person):
    fields = {"datum": date(2025, 11, 3), "von": "Bonn", "nach": "Köln", "zweck": "Messe"}
    return Fahrt.objects.create(person=person("ina"), km=Decimal("28.50"), **fields)


def test_pages_are_accessible_and_work_under_their_policy(browser, trip):
    browser.open("/anmelden/")
    assert problems(browser) == []
    browser.log_in("ina", at="/anmelden/")
    ends = ("neu/", f"{trip.pk}/", f"{trip.pk}/loeschen/")
    for path in (MONTH, *(f"/reisekosten/fahrt/{end}" for end in ends), "/gibt-es-nicht/"):
        browser.open(path)
        assert problems(browser) == []
    assert [each for each in browser.complaints() if "404 (Not Found)" not in each] == []


@pytest.mark.parametrize("path", ["/admin/", "/admin/reisekosten/fahrt/add/"])
def test_administration_works_under_the_policy(browser, person, path):
    person("root", staff=True, is_superuser=True)
    browser.log_in("root")
    browser.open(path)
    assert "kvb-admin" in browser.text and browser.complaints() == []
