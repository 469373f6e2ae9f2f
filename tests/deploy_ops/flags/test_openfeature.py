"""The provider, asked by OpenFeature's own client.

The scenarios are those of its specification that are about booleans, in
https://github.com/open-feature/spec/blob/main/specification/assets/gherkin/evaluation_v2.feature
(Apache-2.0), with `_` for the `-` in names of flags. One cannot be: a rule that switches off.
"""

from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus

from deploy_ops.flags.declaration import Flag
from deploy_ops.flags.evaluation import flag_enabled
from deploy_ops.flags.openfeature import FlagsProvider, context_of
from deploy_ops.flags.testing import forget_flags, override_flag

EMAIL = {"email": "ballmer@macrosoft.com"}


@pytest.fixture(autouse=True)
def declared(settings):
    names = ("boolean_flag", "boolean_zero_flag", "boolean_targeted_flag", "dark_mode")
    settings.DEPLOY_OPS_FLAGS = {name: Flag(name) for name in names}
    settings.DEPLOY_OPS_FLAGS_ATTRIBUTES = {
        name: f"tests.deploy_ops.flags.shop.{function}"
        for name, function in {"email": "country_of", "organisation": "organisations_of"}.items()
    }
    forget_flags()


@pytest.fixture
def client(set_rules):
    """A stable provider with the flags of the scenarios."""
    set_rules("boolean_flag", everyone=True)
    set_rules("boolean_zero_flag", everyone=False)
    set_rules("boolean_targeted_flag", attributes=frozenset(EMAIL.items()))
    api.set_provider_and_wait(FlagsProvider())
    yield api.get_client()
    api.clear_providers()


@pytest.mark.parametrize(
    ("key", "default", "context", "value", "reason"),
    [
        pytest.param("boolean_flag", False, {}, True, "STATIC", id="Resolve values"),
        pytest.param("boolean_zero_flag", True, {}, False, "STATIC", id="Resolves zero value"),
        pytest.param(
            "boolean_targeted_flag", False, EMAIL, True, "TARGETING_MATCH", id="with targeting"
        ),
        pytest.param(
            "boolean_targeted_flag",
            True,
            {"email": "ballmer@none.com"},
            False,
            "DEFAULT",
            id="with targeting using default",
        ),
        pytest.param(
            "boolean_targeted_flag", True, {}, False, "DEFAULT", id="Empty evaluation context"
        ),
        pytest.param(
            "boolean_targeted_flag",
            True,
            {"email": None},
            False,
            "DEFAULT",
            id="Null context values",
        ),
        pytest.param(
            "boolean_targeted_flag",
            False,
            {**EMAIL, "role": "admin", "age": 65, "customer": False},
            True,
            "TARGETING_MATCH",
            id="Multiple context attributes targeting",
        ),
    ],
)
def test_scenario_of_an_evaluation(client, key, default, context, value, reason):
    details = client.get_boolean_details(key, default, EvaluationContext(attributes=context))
    assert (details.value, details.reason, details.error_code) == (value, reason, None)
    assert (details.flag_key, details.variant) == (key, "on" if value else "off")
    assert details.flag_metadata["reason"].startswith("database:")


FALLBACKS = {"boolean": False, "string": "bye", "integer": 1, "float": 0.1, "object": {"a": 1}}


@pytest.mark.parametrize("kind", FALLBACKS)
def test_scenario_flag_not_found_error(client, kind, caplog):
    details = getattr(client, f"get_{kind}_details")("non-existent-flag", FALLBACKS[kind])
    assert details.value == FALLBACKS[kind]
    assert (details.reason, details.error_code) == (Reason.ERROR, ErrorCode.FLAG_NOT_FOUND)


@pytest.mark.parametrize("kind", [kind for kind in FALLBACKS if kind != "boolean"])
def test_scenario_type_mismatch_error(client, kind):
    details = getattr(client, f"get_{kind}_details")("boolean_flag", FALLBACKS[kind])
    assert details.value == FALLBACKS[kind]
    assert (details.reason, details.error_code) == (Reason.ERROR, ErrorCode.TYPE_MISMATCH)


def test_provider_is_ready_and_says_its_name(client):
    assert client.get_provider_status() is ProviderStatus.READY
    assert client.provider.get_metadata().name == "deploy_ops"


def test_percentage_is_a_split_by_the_targeting_key_as_everywhere(client, set_rules):
    set_rules("dark_mode", percent="50")
    users = [User(pk=number, username=f"user{number}") for number in range(40)]
    for user in users:
        details = client.get_boolean_details("dark_mode", False, context_of(user=user))
        assert details.value is flag_enabled("dark_mode", user=user)
        assert details.reason == Reason.SPLIT
    assert len({flag_enabled("dark_mode", user=user) for user in users}) == 2


@pytest.mark.parametrize("key", [None, ""])
def test_percentage_without_a_targeting_key_is_the_error_of_that_name(client, set_rules, key):
    set_rules("dark_mode", percent="50")
    details = client.get_boolean_details("dark_mode", False, EvaluationContext(targeting_key=key))
    assert (details.value, details.error_code) == (False, ErrorCode.TARGETING_KEY_MISSING)


@pytest.mark.parametrize(
    "rules", [{"users": True}, {"groups": frozenset({"pilots"})}, {"staff": True}, {"superusers": True},
              {"attributes": frozenset({("organisation", "globex")})}, {"percentage": Decimal(50)}]
)  # fmt: skip
def test_context_of_a_request_says_what_rules_ask(
    client, set_rules, anna, pilots, request_of, rules
):
    if "users" in rules:
        rules = {"users": frozenset({str(anna.pk)})}
    set_rules("dark_mode", **{"percent": str(rules.pop("percentage", ""))}, **rules)
    pilots.user_set.add(anna)
    anna.is_staff = anna.is_superuser = True
    for user in (anna, User.objects.create_user("bert")):
        request = request_of(user)
        context = context_of(request)
        asked = client.get_boolean_value("dark_mode", False, context)
        assert asked is flag_enabled("dark_mode", request)


def test_what_is_no_boolean_makes_nobody_staff(client, set_rules):
    set_rules("dark_mode", staff=True)
    context = EvaluationContext("7", {"is_staff": "false"})
    assert client.get_boolean_value("dark_mode", False, context) is False


def test_override_of_a_test_comes_first_here_too(client):
    with override_flag("boolean_flag", False):
        details = client.get_boolean_details("boolean_flag", True)
    assert (details.value, details.reason) == (False, Reason.STATIC)


def test_coroutines_are_answered(transactional_db, client):
    forget_flags()
    ask = async_to_sync(client.get_boolean_value_async)  # the thread's own connection
    assert ask("boolean_flag", False) is True
