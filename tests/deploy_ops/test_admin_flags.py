"""The pages of the flags in the administration, asked without a browser."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deploy_ops.flags.change import Source, change_flag, stored_rules
from deploy_ops.flags.declaration import Flag
from deploy_ops.flags.rules import Rules
from deploy_ops.models import FlagChange, FlagState

LIST = "/admin/deploy_ops/flagstate/"
RULES, HISTORY = f"{LIST}csv_export/change/", f"{LIST}csv_export/history/"
ON, OFF = f"{LIST}csv_export/switch/on/", f"{LIST}csv_export/switch/off/"
DECLARED = f"{LIST}csv_export/switch/declared/"
PAGES = (LIST, RULES, HISTORY, ON, OFF, DECLARED)
MAY_LOOK, MAY_SWITCH, MAY_CHANGE = "view_flagstate", "toggle_flag", "change_flagstate"


pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fresh_flags")]


@pytest.fixture
def as_chef(logged_in) -> Client:
    return logged_in(MAY_SWITCH, MAY_CHANGE)


def change(rules: Rules | None, name: str = "csv_export", by: str = "anna") -> None:
    _, revision = stored_rules(name)
    change_flag(
        name, rules, expected_revision=revision, by=by, source=Source.CLI, reason="von nebenan"
    )


def stored() -> Rules | None:
    return stored_rules("csv_export")[0]


def answer(**fields) -> dict:
    """What the form sends."""
    return {"revision": stored_rules("csv_export")[1], "reason": "so besprochen"} | fields


@pytest.mark.parametrize("page", PAGES)
def test_stranger_is_sent_to_the_login(client, page):
    assert client.get(page).status_code == 302


@pytest.mark.parametrize(
    ("permissions", "allowed"),
    [
        ((), ()),
        ((MAY_LOOK,), (LIST, RULES, HISTORY)),
        ((MAY_SWITCH,), (LIST, RULES, HISTORY, ON, OFF)),
        ((MAY_CHANGE,), (LIST, RULES, HISTORY, DECLARED)),
    ],
)
def test_each_permission_opens_its_pages_and_no_other(logged_in, permissions, allowed):
    client = logged_in(*permissions)
    found = {page: client.get(page).status_code for page in PAGES}
    assert found == {page: 200 if page in allowed else 403 for page in PAGES}
    assert {client.post(page, answer()).status_code for page in set(PAGES) - set(allowed)} <= {403}
    assert not FlagState.objects.exists()


def test_who_may_only_switch_can_not_send_rules_either(logged_in):
    client = logged_in(MAY_SWITCH)
    response = client.post(RULES, answer(percentage="5"))
    assert response.status_code == 403
    assert stored() is None


def test_who_may_only_change_rules_can_not_switch_by_them(logged_in):
    change(Rules(everyone=False))
    client = logged_in(MAY_CHANGE)
    assert 'name="everyone"' not in client.get(RULES).text
    client.post(RULES, answer(everyone="on", percentage="5"))
    assert stored() == Rules(everyone=False, percentage=Decimal(5))


def test_who_may_only_change_rules_can_not_undo_a_switch(logged_in):
    client = logged_in(MAY_CHANGE)
    change(Rules(percentage=Decimal(5)))
    assert DECLARED in client.get(RULES).text
    change(Rules(everyone=False, percentage=Decimal(5)))
    assert DECLARED not in client.get(RULES).text
    assert client.get(DECLARED).status_code == 403
    assert client.post(DECLARED, answer()).status_code == 403
    assert stored() == Rules(everyone=False, percentage=Decimal(5))


def test_key_that_no_user_can_have_is_shown_and_stops_no_page(as_chef):
    """As after a change of the user model, or of code that gave a name instead of a key."""
    change(Rules(users=frozenset({"anna", "00000000-0000-0000-0000-000000000001"})))
    assert [as_chef.get(page).status_code for page in PAGES] == [200] * len(PAGES)
    assert "2 Benutzer" in as_chef.get(HISTORY).text


def test_user_name_may_have_a_blank(as_chef):
    user = User.objects.create_user("Anna Meier")
    as_chef.post(RULES, answer(users="Anna Meier,\n chef"))
    assert str(user.pk) in stored().users and len(stored().users) == 2
    assert "Anna Meier, chef" in as_chef.get(RULES).text


def test_every_rule_is_saved_and_shown_again(as_chef):
    anna = User.objects.create_user("anna")
    Group.objects.create(name="Außendienst")
    as_chef.post(
        RULES,
        answer(
            percentage="0.25",
            users="anna, chef",
            groups=["Außendienst"],
            staff="on",
            superusers="on",
            starts_at="2026-12-01T08:00",
            ends_at="2026-12-24T12:00",
        ),
    )
    assert stored() == Rules(
        percentage=Decimal("0.25"),
        users=frozenset([str(anna.pk), str(User.objects.get(username="chef").pk)]),
        groups=frozenset(["Außendienst"]),
        staff=True,
        superusers=True,
        # Typed in Berlin, an hour before UTC in winter.
        starts_at=datetime(2026, 12, 1, 7, tzinfo=UTC),
        ends_at=datetime(2026, 12, 24, 11, tzinfo=UTC),
    )
    page = as_chef.get(RULES).text
    for value in ("0.25", "anna, chef", "2026-12-01T08:00", "2026-12-24T12:00"):
        assert value in page
    page = as_chef.get(HISTORY).text
    for text in ("0,25 % der Benutzer", "Außendienst", "anna, chef", "01.12.2026 08:00"):
        assert text in page


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reason": " "}, "Dieses Feld ist zwingend erforderlich."),
        ({"percentage": "100.01"}, "kleiner oder gleich 100"),
        ({"percentage": "-1"}, "größer oder gleich 0"),
        ({"percentage": "0.001"}, "2 Dezimalstellen"),
        ({"percentage": "viel"}, "Bitte eine Zahl eingeben."),
        ({"users": "chef, niemand"}, "Es gibt keinen Benutzer niemand."),
        ({"groups": ["Vorstand"]}, "Vorstand"),
        ({"starts_at": "2026-12-24T12:00", "ends_at": "2026-12-24T12:00"}, "nach dem Anfang"),
        ({"starts_at": "morgen"}, "gültiges Datum"),
        ({"everyone": "vielleicht"}, "vielleicht"),
    ],
)
def test_invalid_entry_is_explained_in_german_and_nothing_is_saved(as_chef, fields, message):
    response = as_chef.post(RULES, answer(**fields))
    assert response.status_code == 200
    assert message in response.text
    assert stored() is None and not FlagChange.objects.exists()


@pytest.mark.parametrize("revision", ["", "x", "-1", "999"])
def test_revision_that_was_never_shown_changes_nothing(as_chef, revision):
    response = as_chef.post(ON, {"revision": revision, "reason": "so besprochen"})
    assert response.status_code in (200, 409)
    assert stored() is None


def test_switch_keeps_the_rollout_for_later(as_chef):
    change(Rules(percentage=Decimal(5)))
    as_chef.post(OFF, answer())
    assert stored() == Rules(everyone=False, percentage=Decimal(5))
    assert "für später gespeichert: 5 % der Benutzer" in as_chef.get(LIST).text
    as_chef.post(ON, answer())
    assert stored() == Rules(everyone=True, percentage=Decimal(5))
    as_chef.post(RULES, answer(everyone="", percentage="5"))
    assert stored() == Rules(percentage=Decimal(5))


def test_switching_on_takes_away_dates_that_would_keep_it_off(as_chef):
    change(Rules(ends_at=datetime(2020, 1, 1, tzinfo=UTC)))
    assert "Aus" in as_chef.get(LIST).text
    as_chef.post(ON, answer())
    assert stored() == Rules(everyone=True)


def test_empty_rules_are_the_way_back_to_the_declaration(as_chef):
    change(Rules(everyone=True))
    as_chef.post(RULES, answer())
    assert stored() is None
    newest = FlagChange.objects.first()
    assert (newest.new, newest.by, newest.source) == (None, "chef", "admin")


def test_second_editor_gets_a_conflict_and_the_first_ones_change_stays(as_chef):
    data = answer()
    change(Rules(percentage=Decimal(20)))
    response = as_chef.post(ON, data)
    assert response.status_code == 409
    assert "Ihre Eingaben wurden nicht gespeichert." in response.text
    assert "anna: von nebenan" in response.text and "20 %" in response.text
    assert stored() == Rules(percentage=Decimal(20))
    assert f'value="{stored_rules("csv_export")[1]}"' in response.text
    assert "so besprochen" in response.text


def test_conflict_keeps_every_entry_of_the_second_editor_until_it_is_sent_again(as_chef):
    for name in ("Außendienst", "Buchhaltung"):
        Group.objects.create(name=name)
    groups = ["Außendienst", "Buchhaltung"]
    data = answer(percentage="5", groups=groups, users="chef", staff="on")
    change(Rules(everyone=True))
    page = as_chef.post(RULES, data).text
    assert len(re.findall(r'name="groups" value="\w+"[^>]* checked', page)) == 2
    response = as_chef.post(RULES, answer(percentage="5", groups=groups, users="chef", staff="on"))
    assert response.status_code == 302
    assert stored().groups == set(groups) and stored().staff


def test_sending_twice_writes_one_change(as_chef):
    change(Rules(everyone=False))
    first = answer()
    assert as_chef.post(ON, first).status_code == 302
    assert as_chef.post(ON, first).status_code == 409
    assert FlagChange.objects.filter(by="chef").count() == 1
    response = as_chef.post(ON, answer(), follow=True)
    assert "hat diese Regeln bereits; es wurde nichts geändert" in response.text
    assert FlagChange.objects.filter(by="chef").count() == 1


def test_forced_flag_is_shown_with_its_variable_and_refuses_every_change(as_chef, monkeypatch):
    change(Rules(everyone=True))
    monkeypatch.setenv("ENABLE_CSV_EXPORT", "5%")
    assert "durch Umgebungsvariable erzwungen: ENABLE_CSV_EXPORT=5%" in as_chef.get(LIST).text
    for page in (RULES, ON, OFF, DECLARED):
        assert as_chef.get(page).status_code == 200
        assert "<form method" not in as_chef.get(page).text.partition("<main")[2]
        assert as_chef.post(page, answer()).status_code == 403
    assert stored() == Rules(everyone=True)


def test_row_without_declaration_is_stale_and_can_only_be_removed(as_chef, settings):
    change(Rules(everyone=True))
    settings.DEPLOY_OPS_FLAGS = {}
    page = as_chef.get(LIST).text
    assert "Einträge ohne Deklaration" in page and "Veraltet" in page
    assert as_chef.post(ON, answer()).status_code == 403
    assert as_chef.post(RULES, answer()).status_code == 403
    assert as_chef.post(DECLARED, answer(), follow=True).status_code == 200
    assert stored() is None
    assert "von nebenan" in as_chef.get(HISTORY).text


def test_flag_past_its_day_is_shown_as_overdue(as_chef, settings):
    settings.DEPLOY_OPS_FLAGS = {"old": Flag("Alt", owner="IT", remove_by=date(2026, 1, 1))}
    page = as_chef.get(LIST).text
    assert "Überfällig seit 01.01.2026" in page and "Zuständig: IT" in page


@pytest.mark.parametrize("page", ["history/", "change/", "switch/on/"])
def test_unknown_flag_is_not_found(as_chef, page):
    assert as_chef.get(f"{LIST}nothing/{page}").status_code == 404


def test_unknown_switch_is_not_found(as_chef):
    assert as_chef.get(f"{LIST}csv_export/switch/maybe/").status_code == 404


def test_history_is_paged_newest_first_and_offers_only_undo(as_chef):
    for number in range(60):
        change(Rules(percentage=Decimal(number)))
    first, second = as_chef.get(HISTORY).text, as_chef.get(f"{HISTORY}?page=2").text
    assert "Seite 1 von 2" in first and "59 % der Benutzer" in first
    assert "Seite 2 von 2" in second and "wie deklariert" in second
    forms = [page.partition("<main")[2].count("<form method") for page in (first, second)]
    assert forms == [1, 0]  # undo of the last change


def test_text_from_people_is_never_markup(as_chef):
    as_chef.post(ON, answer(reason="<b>fett</b>"))
    for page in (LIST, HISTORY, RULES):
        assert "&lt;b&gt;fett" in as_chef.get(page).text


NONCE = re.compile(r'nonce="([^"]+)"')


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_a_strict_policy_and_nothing_that_it_would_forbid(as_chef, page):
    change(Rules(percentage=Decimal(5)))
    answer = as_chef.get(page)
    (nonce,) = set(NONCE.findall(answer.text))
    policy = answer["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    assert f"script-src 'nonce-{nonce}' http://testserver/static/;" in policy
    assert not re.search(r"<script(?![^>]* src=)|<style|\bstyle=|\bon\w+=", answer.text)


@pytest.fixture
def hundred_flags(settings, monkeypatch):
    """One of each kind among many that were never changed."""
    settings.DEPLOY_OPS_FLAGS = {
        "gone": Flag("Weg"),
        "forced": Flag("Per Variable"),
        "overdue": Flag("Monat als Kalender", owner="IT", remove_by=date(2026, 1, 1)),
        "everyone": Flag("Für alle"),
        "some": Flag("Für einige", owner="Buchhaltung"),
        **{f"flag_{number}": Flag(f"Nummer {number}") for number in range(95)},
    }
    change(Rules(everyone=True), "gone")
    change(Rules(everyone=True), "everyone")
    change(Rules(percentage=Decimal("5.25")), "some")
    monkeypatch.setenv("ENABLE_FORCED", "true")
    del settings.DEPLOY_OPS_FLAGS["gone"]


@pytest.mark.usefixtures("hundred_flags")
@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("q=kalender", ["overdue"]),
        ("q=BUCHHALTUNG", ["some"]),
        ("q=nummer+94", ["flag_94"]),
        ("q=gibt+es+nicht", []),
        ("show=on", ["forced", "everyone"]),
        ("show=some", ["some"]),
        ("show=forced", ["forced"]),
        ("show=stale", ["overdue", "gone"]),
        ("show=stale&q=gone", ["gone"]),
    ],
)
def test_list_is_searched_by_words_and_by_state(as_chef, asked, found):
    page = as_chef.get(f"{LIST}?{asked}").text.partition("<main")[2]
    assert re.findall(r'<th scope="row">\s*<code>(\w+)</code>', page) == found
    assert f"{len(found)} von 100 Flags" in page
    assert ("Kein Flag entspricht der Suche." in page) is (not found)


@pytest.mark.usefixtures("hundred_flags")
@pytest.mark.parametrize("asked", ["", "show=nonsense", "q=", "q=" + "x" * 300])
def test_what_is_no_filter_shows_all(as_chef, asked):
    page = as_chef.get(f"{LIST}?{asked}")
    assert page.status_code == 200
    assert len(re.findall(r'<th scope="row">', page.text)) == 100


@pytest.mark.usefixtures("hundred_flags")
def test_rollout_is_a_bar_whose_value_is_no_text_of_a_language(as_chef):
    page = as_chef.get(f"{LIST}?show=some").text
    assert '<progress class="some" max="100" value="5.25" aria-label="Rollout von some">' in page
    change(Rules(groups=frozenset({"IT"})), "some")
    assert "<progress" not in as_chef.get(f"{LIST}?show=some").text


def test_history_shows_what_each_change_took_away_added_and_left(as_chef):
    change(Rules(percentage=Decimal(5), staff=True))
    change(Rules(percentage=Decimal(20), staff=True))
    newest = as_chef.get(HISTORY).text.partition("<tbody>")[2].partition("</tr>")[0]
    assert "<del>5 % der Benutzer</del>" in newest and "<ins>20 % der Benutzer</ins>" in newest
    assert re.search(r"unverändert</span> Mitarbeiter mit Zugang zur Verwaltung", newest)


def test_list_costs_the_same_queries_for_many_flags_as_for_one(as_chef, settings):
    names = [f"flag_{number}" for number in range(30)]
    settings.DEPLOY_OPS_FLAGS = {name: Flag(name) for name in names}
    for name in names:
        change(Rules(users=frozenset(["1"])), name)
    with CaptureQueriesContext(connection) as for_many:
        assert "flag_29" in as_chef.get(LIST).text
    settings.DEPLOY_OPS_FLAGS = {"flag_1": Flag("only one")}
    FlagState.objects.exclude(name="flag_1").delete()
    with CaptureQueriesContext(connection) as for_one:
        as_chef.get(LIST)
    assert len(for_many) == len(for_one)


def test_attributes_have_a_field_each_and_one_that_is_gone_can_be_taken_out(as_chef, settings):
    settings.DEPLOY_OPS_FLAGS_ATTRIBUTES = {
        name: "tests.deploy_ops.flags.shop.country_of" for name in ("country", "plan")
    }
    as_chef.post(RULES, answer(attribute_country="DE\r\nSmith, Inc\r\n", attribute_plan="pro"))
    pairs = [("country", "DE"), ("country", "Smith, Inc"), ("plan", "pro")]
    assert stored() == Rules(attributes=frozenset(pairs))
    assert "DE\nSmith, Inc</textarea>" in as_chef.get(RULES).text
    settings.DEPLOY_OPS_FLAGS_ATTRIBUTES = {}
    assert "country: DE, Smith, Inc" in as_chef.get(HISTORY).text
    as_chef.post(RULES, answer(attribute_plan="pro"))
    assert stored() == Rules(attributes=frozenset(pairs[2:]))
