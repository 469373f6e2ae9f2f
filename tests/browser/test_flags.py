"""Feature flags as administrators and the people of the application meet them."""

import itertools
from datetime import date
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from deploy_ops.flags.change import NO_ROW, Source, change_flag, stored_rules
from deploy_ops.flags.declaration import Flag
from deploy_ops.flags.rollout import bucket_of
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.testing import forget_flags
from deploy_ops.models import FlagState
from tests.browser.accessibility import problems

LIST = "/admin/deploy_ops/flagstate/"
RULES = f"{LIST}csv_export/change/"
MONTH = "/reisekosten/2025/11/"
EXPORT = "Als CSV exportieren"
FIVE_PERCENT = 500


@pytest.fixture(autouse=True)
def fresh_flags(transactional_db):
    forget_flags()
    yield
    forget_flags()


@pytest.fixture
def chef(person):
    return person("chef", "toggle_flag", "change_flagstate", staff=True)


def change(name: str, rules: Rules, reason: str) -> None:
    _, revision = stored_rules(name)
    change_flag(
        name, rules, expected_revision=revision, by="anna", source=Source.CLI, reason=reason
    )


def key(is_in: bool) -> int:
    """A primary key that 5 % of csv_export include, or leave out."""
    keys = itertools.count(1000)
    return next(k for k in keys if (bucket_of("csv_export", str(k)) < FIVE_PERCENT) is is_in)


def test_admin_rolls_the_export_out_to_five_percent_and_only_they_see_it(browser, chef, person):
    person("ina", pk=key(True))
    person("otto", pk=key(False))

    browser.log_in("chef")
    browser.open(LIST)
    assert "CSV-Export der Fahrten eines Monats" in browser.main
    browser.press("Regeln", within="csv_export")
    browser.fill("Anteil der Benutzer", "5")
    browser.fill("Grund", "Erst einmal wenige")
    browser.press("Speichern")
    assert browser.path == LIST
    assert "Das Flag csv_export wurde geändert." in browser.main
    assert "5 % der Benutzer" in browser.main

    browser.press("Verlauf", within="csv_export")
    for text in ("chef", "Verwaltung", "wie deklariert", "5 % der Benutzer", "Erst einmal wenige"):
        assert text in browser.main

    for name, is_in in (("ina", True), ("otto", False)):
        browser.forget()
        browser.log_in(name, at="/anmelden/")
        browser.open(MONTH)
        assert "November 2025" in browser.main
        assert browser.has(EXPORT) is is_in


def test_switch_takes_one_click_and_a_reason(browser, chef):
    browser.log_in("chef")
    browser.open(LIST)
    browser.press("Einschalten", within="csv_export")
    browser.press("Für alle einschalten")
    assert "Dieses Feld ist zwingend erforderlich." in browser.main
    browser.screenshots("reason-missing")
    assert not FlagState.objects.exists()
    browser.fill("Grund", "Abgenommen von der Buchhaltung")
    browser.press("Für alle einschalten")
    assert "für alle an" in browser.main
    browser.open(MONTH)
    assert browser.has(EXPORT)


def test_keyboard_alone_is_enough(browser, chef):
    browser.log_in("chef")
    browser.open(f"{LIST}csv_export/switch/on/")
    # The reason has the focus already: why, then once further to the button.
    browser.driver.switch_to.active_element.send_keys("Nur mit Tasten", Keys.TAB)
    assert browser.driver.switch_to.active_element.text == "Für alle einschalten"
    with browser.next_page():
        browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert "Das Flag csv_export wurde geändert." in browser.main


def test_without_the_permission_there_is_no_button_and_no_page(browser, person):
    person("gast", "view_flagstate", staff=True)
    browser.log_in("gast")
    browser.open(LIST)
    assert "csv_export" in browser.main
    assert not any(browser.has(word) for word in ("Einschalten", "Ausschalten", "Regeln"))
    browser.open(f"{LIST}csv_export/switch/on/")
    assert "403" in browser.text
    browser.open(RULES)
    assert not browser.driver.find_elements(By.CSS_SELECTOR, "main form")


def test_flag_that_the_environment_forces_can_only_be_looked_at(browser, chef, monkeypatch):
    change("csv_export", Rules(percentage=Decimal(5)), "vor dem Notfall")
    monkeypatch.setenv("ENABLE_CSV_EXPORT", "false")
    forget_flags()
    browser.log_in("chef")
    browser.open(LIST)
    assert "durch Umgebungsvariable erzwungen: ENABLE_CSV_EXPORT=false" in browser.main
    assert not any(browser.has(word) for word in ("Einschalten", "Ausschalten", "Regeln"))
    for page in (RULES, f"{LIST}csv_export/switch/on/"):
        browser.open(page)
        assert "ENABLE_CSV_EXPORT=false" in browser.main
        assert not browser.driver.find_elements(By.CSS_SELECTOR, "main form")


def test_second_of_two_editors_sees_the_first_ones_change_and_decides(browser, chef):
    browser.log_in("chef")
    browser.open(RULES)
    change("csv_export", Rules(percentage=Decimal(20)), "von nebenan")
    browser.fill("Anteil der Benutzer", "5")
    browser.fill("Grund", "nur wenige")
    browser.press("Speichern")
    assert "Ihre Eingaben wurden nicht gespeichert." in browser.main
    assert "von nebenan" in browser.main and "20 %" in browser.main
    browser.screenshots("conflict")
    assert stored_rules("csv_export")[0].percentage == 20
    assert browser.field("Anteil der Benutzer").get_attribute("value") == "5"
    browser.press("Speichern")
    assert stored_rules("csv_export")[0].percentage == 5


def test_slider_and_number_say_the_same(browser, chef):
    browser.log_in("chef")
    browser.open(RULES)
    slider = browser.driver.find_element(By.CSS_SELECTOR, "input[type=range]")
    slider.send_keys(Keys.ARROW_RIGHT * 7)
    assert browser.field("Anteil der Benutzer").get_attribute("value") == "7"
    browser.fill("Anteil der Benutzer", "42")
    assert slider.get_attribute("value") == "42"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("list", LIST),
        ("switch", f"{LIST}team_totals/switch/off/"),
        ("rules", f"{LIST}team_totals/change/"),
        ("forced", f"{LIST}receipt_scan/change/"),
        ("history", f"{LIST}team_totals/history/"),
    ],
)
def test_page_is_accessible_fits_its_window_and_loads_nothing_foreign(
    browser, person, settings, monkeypatch, name, path
):
    show_many_flags(settings, monkeypatch)
    person("chef", staff=True, is_superuser=True)
    browser.log_in("chef")
    browser.open(path)
    browser.screenshots(name)
    assert problems(browser) == []
    assert browser.complaints() == []


def show_many_flags(settings, monkeypatch) -> None:
    """One of each kind: never changed, overdue, forced, rolled out in part, no longer declared."""
    declared = {
        **settings.DEPLOY_OPS_FLAGS,
        "new_month_view": Flag("Monat als Kalender", owner="IT", remove_by=date(2026, 1, 1)),
        "receipt_scan": Flag("Betrag vom Foto des Belegs ablesen", default=True, owner="IT"),
        "team_totals": Flag("Summen einer ganzen Abteilung", owner="Buchhaltung"),
    }
    settings.DEPLOY_OPS_FLAGS = declared | {"gone": Flag("Wird gleich entfernt")}
    monkeypatch.setenv("ENABLE_RECEIPT_SCAN", "false")
    for group in ("Buchhaltung", "Außendienst"):
        Group.objects.create(name=group)
    groups = frozenset(["Buchhaltung"])
    change("new_month_view", Rules(everyone=True), "Alle sind zufrieden")
    change("team_totals", Rules(groups=groups), "Erst die Buchhaltung, wie besprochen")
    change("team_totals", Rules(groups=groups, percentage=Decimal("5.25")), "Dann einige mehr")
    change("gone", Rules(everyone=True), "Für den Test")
    settings.DEPLOY_OPS_FLAGS = declared
    forget_flags()
    assert stored_rules("receipt_scan") == (None, NO_ROW)
