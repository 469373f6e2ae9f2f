"""Export and import: the same rules in another database, all of them or none."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command

from deploy_ops.errors import InvalidRules
from deploy_ops.flags.change import stored_rules
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.transfer import FORMAT, export_flags, import_flags, plan_import
from deploy_ops.models import FlagChange, FlagState

EVERY_RULE = {
    "groups": frozenset({"pilots"}),
    "staff": True,
    "superusers": True,
    "attributes": frozenset({("country", "AT"), ("country", "DE")}),
    "starts_at": datetime(2027, 1, 1, tzinfo=UTC),
    "ends_at": datetime(2027, 2, 1, 12, 30, 15, tzinfo=UTC),
}


@pytest.fixture(autouse=True)
def country(settings, db):
    settings.DEPLOY_OPS_FLAGS_ATTRIBUTES = {"country": "tests.deploy_ops.flags.shop.country_of"}


def document(**flags) -> str:
    return json.dumps({"format": FORMAT, "flags": flags})


def run(*words) -> str:
    out = io.StringIO()
    call_command("flags", *words, stdout=out, stderr=out)
    return out.getvalue()


def refused(*words) -> str:
    """What a command says that changes nothing."""
    before, out = list(FlagState.objects.values()), io.StringIO()
    with pytest.raises(CommandError):
        call_command("flags", *words, stdout=out, stderr=out)
    assert list(FlagState.objects.values()) == before
    return out.getvalue()


def test_every_rule_goes_into_another_database_where_users_have_other_keys(
    set_rules, anna, pilots, tmp_path
):
    set_rules(users=frozenset({str(anna.pk)}), percent="0.25", **EVERY_RULE)
    set_rules("new_search", everyone=False)
    file = tmp_path / "flags.json"
    file.write_text(run("export"))

    FlagState.objects.all().delete()
    anna.delete()
    again = User.objects.create_user("anna")
    run("on", "old_menu")
    said = run("import", str(file), "--reason", "As on staging")
    assert "new_search: as declared -> off\n" in said and "old_menu: on -> as declared\n" in said
    here = {"users": frozenset({str(again.pk)}), "percentage": Decimal("0.25")}
    assert stored_rules("dark_mode")[0] == Rules(**here, **EVERY_RULE)
    assert stored_rules("old_menu") == (None, 0)
    newest = FlagChange.objects.filter(flag="dark_mode").first()
    assert (newest.source, newest.reason) == ("cli", "As on staging") and "@" in newest.by
    assert "Nothing was changed" in run("import", str(file))


def test_plan_shows_the_changes_and_makes_none(tmp_path):
    file = tmp_path / "flags.json"
    file.write_text(document(dark_mode={"percentage": 5}, old_menu=None))
    said = run("import", str(file), "--plan")
    assert said.startswith("dark_mode: as declared -> 5.00 %\nNothing was changed.")
    assert f"flags import {file}" in said
    assert not FlagState.objects.exists() and not FlagChange.objects.exists()
    run("import", str(file))
    assert FlagChange.objects.get().reason == "Import of flags.json."


def test_flags_that_the_file_does_not_name_stay(set_rules):
    set_rules("new_search", staff=True)
    import_flags(plan_import(document(dark_mode={"staff": True})), by="anna", reason="")
    assert stored_rules("new_search")[0] == Rules(staff=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (document(dark_mode={"groups": ["\0"]}), "a NUL"),
        (document(dark_mode={"attributes": {"country": ["\ud800"]}}), "surrogates not allowed"),
        (document(**{"\udcff": {"staff": True}}), "surrogates not allowed"),
        ("[]", "not an export"),
        ("null", "not an export"),
        ('{"flags": {}}', "not an export"),
        ('{"format": "deploy_ops.flags/2", "flags": {}}', "not an export"),
        (f'{{"format": "{FORMAT}"}}', 'no object "flags"'),
        (f'{{"format": "{FORMAT}", "flags": []}}', 'no object "flags"'),
        (document(dark_mode=[]), "rules are an object"),
        (document(dark_mode="on"), "rules are an object"),
        (document(dark_mode={"everyone": 1}), "everyone is"),
        (document(dark_mode={"everyone": "yes"}), "everyone is"),
        (document(dark_mode={"staff": None}), "staff is"),
        (document(dark_mode={"percentage": True}), "percentage is"),
        (document(dark_mode={"percentage": 100.01}), "not a percentage"),
        (document(dark_mode={"percentage": "-1"}), "not a percentage"),
        (document(dark_mode={"percentage": float("nan")}), "not a percentage"),
        (document(dark_mode={"percentage": float("inf")}), "not a percentage"),
        (document(dark_mode={"percent": 5}), "no rule 'percent'"),
        (document(dark_mode={"users": "anna"}), "users is"),
        (document(dark_mode={"users": [7]}), "no user '7' here"),
        (document(dark_mode={"users": ["nobody"]}), "no user 'nobody' here"),
        (document(dark_mode={"groups": ["nobody"]}), "no group 'nobody' here"),
        (document(dark_mode={"groups": [["pilots"]]}), "groups is"),
        (document(dark_mode={"attributes": ["country"]}), "attributes is"),
        (document(dark_mode={"attributes": {"country": "DE"}}), "attributes is"),
        (document(dark_mode={"attributes": {"country": [None]}}), "attributes is"),
        (document(dark_mode={"attributes": {"planet": ["Mars"]}}), "no attribute 'planet'"),
        (document(dark_mode={"starts_at": "soon"}), "soon"),
        (document(dark_mode={"starts_at": 5}), "'5'"),
        (document(dark_mode={"starts_at": "0001-01-01T00:00+14:00"}), "out of the range"),
        (document(dark_mode={"ends_at": "9999-12-31T23:59-12:00"}), "out of the range"),
        (document(dark_mode={"starts_at": "2027-03-28T02:30"}), "does not exist"),
        (document(dark_mode={"ends_at": "2027-10-31T02:30"}), "comes twice"),
        (
            document(dark_mode={"starts_at": "2027-02-01T00:00Z", "ends_at": "2027-01-01T00:00Z"}),
            "would end",
        ),
        (document(dark_mode={"staff": True}, drak_mode={"staff": True}, a={}), "a, drak_mode"),
        (f'{{"format": "{FORMAT}", "flags": {{"a": null, "a": null}}}}', "'a' stands twice"),
    ],
)
def test_garbage_is_refused_with_a_sentence_and_changes_nothing(tmp_path, text, message):
    run("on", "new_search")
    file = tmp_path / "flags.json"
    file.write_text(text)
    said = refused("import", str(file))
    assert message in said and "Nothing was changed." in said, said


def test_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "latin").write_bytes("ä".encode("latin-1"))
    for name, fault in {"latin": "not UTF-8", "none": "No such file", ".": "not a file"}.items():
        said = refused("import", str(tmp_path / name))
        assert fault in said and str(tmp_path / name) in said


def test_one_refused_flag_leaves_all_others_as_they_were(monkeypatch):
    """Somebody changes the second one between the plan and the change."""
    planned = plan_import(document(dark_mode={"staff": True}, new_search={"staff": True}))
    run("on", "new_search")
    with pytest.raises(Exception, match="new_search"):
        import_flags(planned, by="anna", reason="")
    assert stored_rules("dark_mode") == (None, 0)


def test_number_is_read_as_it_is_written(tmp_path):
    text = document(dark_mode={"percentage": "X"}).replace('"X"', "0.07")
    (change,) = plan_import(text)
    assert change.after.percentage == Decimal("0.07")


def test_flag_that_is_nowhere_may_be_named_without_rules():
    assert plan_import(document(not_yet=None)) == []


def test_deleted_users_are_left_out(set_rules, anna):
    set_rules(users=frozenset({str(anna.pk), "4711"}))
    assert export_flags()["flags"]["dark_mode"] == {"users": ["anna"]}


def test_file_of_another_program_with_a_byte_order_mark_is_read(tmp_path):
    Group.objects.create(name="Außendienst")
    file = tmp_path / "flags.json"
    file.write_text(document(dark_mode={"groups": ["Außendienst"]}), encoding="utf-8-sig")
    run("import", str(file))
    assert stored_rules("dark_mode")[0] == Rules(groups=frozenset({"Außendienst"}))


def test_wrong_types_are_refused_before_rules_are_made():
    with pytest.raises(InvalidRules, match="The rules of dark_mode cannot be read: users is .7."):
        plan_import(document(dark_mode={"users": 7}))
