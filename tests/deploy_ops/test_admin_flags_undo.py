"""Undo with one click, and the preview of who is included, asked without a browser."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from deploy_ops.flags.change import Source, change_flag, last_change, stored_rules
from deploy_ops.flags.rules import Rules
from deploy_ops.models import FlagChange

PAGES = "/admin/deploy_ops/flagstate/csv_export"
RULES, HISTORY = f"{PAGES}/change/", f"{PAGES}/history/"
MAY_LOOK, MAY_SWITCH, MAY_CHANGE = "view_flagstate", "toggle_flag", "change_flagstate"
UNDO = "Änderung zurücknehmen"
STAFF, OFF = Rules(staff=True), Rules(everyone=False, staff=True)


pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fresh_flags")]


def change(rules: Rules | None) -> FlagChange:
    revision = stored_rules("csv_export")[1]
    return change_flag(
        "csv_export", rules, expected_revision=revision, by="anna", source=Source.CLI
    )


def undo(client: Client, entry: FlagChange):
    return client.post(f"{PAGES}/undo/{entry.pk}/", follow=True)


def stored() -> Rules | None:
    return stored_rules("csv_export")[0]


def test_last_change_is_undone_with_one_click(logged_in):
    client = logged_in(MAY_SWITCH, MAY_CHANGE)
    change(STAFF)
    entry = change(OFF)
    page = client.get(HISTORY).text
    assert page.count(UNDO) == 1 and f"{PAGES}/undo/{entry.pk}/" in page
    response = undo(client, entry)
    assert response.redirect_chain == [(HISTORY, 302)]
    assert "Die Änderung von csv_export wurde zurückgenommen." in response.text
    assert stored() == STAFF
    newest = last_change("csv_export")
    assert (newest.by, newest.source) == ("chef", "admin")
    assert newest.reason == f"Nimmt Änderung {entry.version} von anna zurück."


def test_link_that_is_followed_undoes_nothing(logged_in):
    client = logged_in(MAY_SWITCH, MAY_CHANGE)
    entry = change(STAFF)
    assert client.get(f"{PAGES}/undo/{entry.pk}/").status_code == 403
    assert stored() == STAFF


def test_change_that_is_not_the_last_one_stays(logged_in):
    client = logged_in(MAY_SWITCH, MAY_CHANGE)
    entry = change(STAFF)
    change(OFF)
    assert "Es wurde nichts zurückgenommen." in undo(client, entry).text
    assert stored() == OFF


def test_change_of_another_flag_is_not_found(logged_in):
    client = logged_in(MAY_SWITCH, MAY_CHANGE)
    entry = change(STAFF)
    assert client.post(f"/admin/deploy_ops/flagstate/other/undo/{entry.pk}/").status_code == 404


@pytest.mark.parametrize(
    ("permissions", "before", "after", "allowed"),
    [
        ([MAY_LOOK], STAFF, OFF, False),
        ([MAY_SWITCH], STAFF, OFF, True),
        ([MAY_CHANGE], STAFF, OFF, False),
        ([MAY_CHANGE], STAFF, Rules(percentage=Decimal(5)), True),
        ([MAY_SWITCH], STAFF, Rules(percentage=Decimal(5)), False),
        ([MAY_CHANGE], Rules(everyone=True), None, False),
        ([MAY_CHANGE], STAFF, None, True),
        ([MAY_CHANGE], STAFF, Rules(everyone=True), False),
        ([MAY_SWITCH], STAFF, Rules(everyone=True), False),
    ],
)
def test_undoing_takes_the_permissions_of_the_change(
    logged_in, permissions, before, after, allowed
):
    client = logged_in(*permissions)
    change(before)
    entry = change(after)
    assert (UNDO in client.get(HISTORY).text) is allowed
    assert undo(client, entry).status_code == (200 if allowed else 403)
    assert stored() == (before if allowed else after)


def test_forced_flag_is_not_undone(logged_in, monkeypatch):
    client = logged_in(MAY_SWITCH, MAY_CHANGE)
    entry = change(STAFF)
    monkeypatch.setenv("ENABLE_CSV_EXPORT", "on")
    assert UNDO not in client.get(HISTORY).text
    assert undo(client, entry).status_code == 403


def preview(client: Client, **fields) -> str:
    data = {"revision": 0, "reason": "", "preview": "1"} | fields
    response = client.post(RULES, data)
    assert response.status_code == 200 and stored() is None
    return response.text


def test_preview_says_who_would_be_included_and_saves_nothing(logged_in):
    client = logged_in(MAY_CHANGE, "view_user")
    User.objects.create_user("anna")
    page = preview(client, staff="on", **{"who-user": "anna"})
    assert "anna ist nicht dabei (database:no_match)." in page
    assert "1 von 2 Benutzern ist dabei." in page and "<p>chef</p>" in page
    assert 'name="staff" checked' in page.replace(' id="id_staff"', "").replace(
        'type="checkbox" ', ""
    )


def test_preview_names_accounts_only_to_who_may_see_them(logged_in):
    page = preview(logged_in(MAY_CHANGE), staff="on")
    assert "1 von 1 Benutzern ist dabei." in page and "<p>chef</p>" not in page


@pytest.mark.parametrize("fields", [{"percentage": "viel"}, {"who-user": "niemand"}])
def test_preview_of_what_is_not_valid_shows_the_fault(logged_in, fields):
    page = preview(logged_in(MAY_CHANGE), **fields)
    assert "errorlist" in page and 'role="status"' not in page


def test_preview_takes_the_permission_to_change(logged_in):
    client = logged_in(MAY_LOOK)
    assert client.post(RULES, {"preview": "1", "staff": "on"}).status_code == 403
