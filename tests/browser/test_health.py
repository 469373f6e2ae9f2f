"""The page of the checks, in the administration that it belongs to."""

import pytest

from tests.browser.accessibility import problems

PAGE = "/health/details/"


@pytest.mark.parametrize("language", ["de", "en"])
def test_page_is_accessible_and_found_from_the_administration(browser, person, settings, language):
    settings.LANGUAGE_CODE = language
    settings.DEPLOY_OPS_READINESS_CHECKS = ["cache", "database", f"{__name__}.supplier"]
    person("chef", "view_flagstate", staff=True)
    browser.log_in("chef")
    assert "kvb-admin" in browser.text
    browser.open("/admin/deploy_ops/")
    browser.press(
        "Alle Prüfungen dieser Instanz" if language == "de" else "All checks of this instance"
    )
    assert browser.path == PAGE
    title, connection = ("Systemzustand", "Datenbankverbindung")
    if language == "en":
        title, connection = ("Health", "Database connection")
    for text in ("kvb-admin", title, connection, "Cache", "supplier", "HTTP 503 from the supplier"):
        assert text in browser.text
    browser.screenshots(f"health-{language}")
    assert problems(browser) == []
    assert browser.complaints() == []


def supplier():
    raise RuntimeError("HTTP 503 from the supplier")
