"""Rules for attributes of who asks: from functions of the project, and only when a rule asks."""

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from deploy_ops.errors import InvalidRules
from deploy_ops.flags import attributes
from deploy_ops.flags.change import Source, change_flag, stored_rules
from deploy_ops.flags.checks import check_attributes, check_undeclared_flags
from deploy_ops.flags.evaluation import evaluate_flag, flag_enabled
from deploy_ops.flags.rules import Rules
from deploy_ops.models import FlagState
from tests.deploy_ops.flags import shop

SHOP = "tests.deploy_ops.flags.shop"


@pytest.fixture(autouse=True)
def declared_attributes(settings):
    settings.DEPLOY_OPS_FLAGS_ATTRIBUTES = {
        "country": f"{SHOP}.country_of",
        "organisation": f"{SHOP}.organisations_of",
        "level": f"{SHOP}.level_of",
        "broken": f"{SHOP}.broken",
        "gone": f"{SHOP}.gone",
    }
    shop.ASKED.clear()
    attributes._reported.clear()


def of(**values) -> dict:
    return {"attributes": frozenset((name, value) for name, value in values.items())}


def test_value_of_the_request_decides(set_rules, request_of):
    set_rules(**of(country="DE"))
    request = request_of()
    request.META["HTTP_X_COUNTRY"] = "DE"
    assert evaluate_flag("dark_mode", request) == (True, "database:attributes")
    assert evaluate_flag("dark_mode", request_of()) == (False, "database:no_match")
    assert not flag_enabled("dark_mode")


def test_one_of_several_values_is_enough(set_rules, anna):
    set_rules(attributes=frozenset([("organisation", "globex"), ("country", "DE")]))
    assert flag_enabled("dark_mode", user=anna)
    assert not flag_enabled("dark_mode", user=User.objects.create_user("bert"))


def test_numbers_are_compared_as_they_are_typed(set_rules, anna):
    set_rules(**of(level="4"))
    assert flag_enabled("dark_mode", user=anna)


def test_function_is_called_once_a_request_and_only_if_a_rule_asks(set_rules, anna, request_of):
    set_rules(**of(organisation="acme"))
    set_rules("new_search", percent="5")
    request = request_of(anna)
    assert [flag_enabled("dark_mode", request) for _ in range(3)] == [True] * 3
    flag_enabled("new_search", request)
    assert shop.ASKED == ["organisation"]


@pytest.mark.parametrize("name", ["broken", "gone"])
def test_function_that_fails_turns_no_page_into_an_error(set_rules, anna, caplog, name):
    set_rules(**of(**{name: "x"}), staff=True)
    assert not flag_enabled("dark_mode", user=anna)
    assert not flag_enabled("dark_mode", user=anna)
    (record,) = caplog.records
    assert f"The attribute {name} cannot be read" in record.message and record.exc_info
    anna.is_staff = True
    assert flag_enabled("dark_mode", user=anna)


def test_attribute_that_is_not_declared_is_refused(db):
    rules = Rules(**of(planet="Mars"))
    with pytest.raises(InvalidRules, match=r"no attribute 'planet'.*declares: country, organi"):
        change_flag("dark_mode", rules, expected_revision=0, by="anna", source=Source.CODE)
    assert stored_rules("dark_mode") == (None, 0)


def test_rule_that_outlives_its_attribute_is_named_and_stops_no_switch(set_rules, settings):
    set_rules(**of(country="DE"))
    settings.DEPLOY_OPS_FLAGS_ATTRIBUTES = {}
    (found,) = check_undeclared_flags(["default"])
    assert found.id == "deploy_ops.C024" and "dark_mode has a rule for the attribute country" in (
        found.msg
    )
    assert not flag_enabled("dark_mode")
    call_command("flags", "off", "dark_mode", verbosity=0)
    assert stored_rules("dark_mode")[0] == Rules(everyone=False, **of(country="DE"))


def test_row_of_a_release_that_knows_no_attributes_has_none(db):
    FlagState.objects.create(name="dark_mode", staff=True, revision=1)
    assert stored_rules("dark_mode") == (Rules(staff=True), 1)


def test_check_names_what_cannot_be_called(settings):
    settings.DEPLOY_OPS_FLAGS_ATTRIBUTES |= {
        "text": f"{SHOP}.NO_FUNCTION", "number": 5, "Not a name": f"{SHOP}.country_of"
    }  # fmt: skip
    found = {error.msg.split("'")[1]: error.msg for error in check_attributes()}
    assert list(found) == ["gone", "text", "number", "Not a name"]
    assert "is no function" in found["text"] and "small letters" in found["Not a name"]


def test_command_takes_and_tells_them(db, capsys):
    words = ["--attribute", "country=DE", "--attribute", "country=AT", "--attribute", "level=a=b"]
    call_command("flags", "set", "dark_mode", *words)
    assert "dark_mode: as declared -> country AT or DE, level a=b\n" in capsys.readouterr().out
    assert stored_rules("dark_mode")[0].as_json() == {
        "attributes": {"country": ["AT", "DE"], "level": ["a=b"]}
    }


@pytest.mark.parametrize("word", ["country", "=DE", "country=", ""])
def test_command_refuses_what_has_no_name_or_value(db, word):
    with pytest.raises(CommandError, match="country=DE"):
        call_command("flags", "set", "dark_mode", "--attribute", word)
