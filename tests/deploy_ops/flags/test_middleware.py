"""One request, one state; and the cookie that only a percentage asks for."""

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from deploy_ops.flags.change import Source, change_flag, stored_rules
from deploy_ops.flags.evaluation import evaluate_flag, flag_enabled
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.testing import forget_flags

COOKIE = "deploy_ops_visitor"


def ask(request):
    return HttpResponse(str(flag_enabled("dark_mode", request)))


def ask_without_request(_request):
    return HttpResponse(str(flag_enabled("dark_mode")))


async def ask_async(request):
    return HttpResponse(str(flag_enabled("dark_mode", request)))


def ask_nothing(_request):
    return HttpResponse()


def change_half_way(request):
    """Somebody toggles the flag, and the process hears of it, while a page is made."""
    before = [flag_enabled("dark_mode", request), flag_enabled("dark_mode")]
    rules = Rules(everyone=not before[0])
    change_flag(
        "dark_mode",
        rules,
        expected_revision=stored_rules("dark_mode")[1],
        by="x",
        source=Source.CODE,
    )
    forget_flags()

    def parts():
        yield f"{before[0]} {before[1]} "
        yield f"{flag_enabled('dark_mode', request)}"

    return StreamingHttpResponse(parts())


urlpatterns = [
    path("ask/", ask),
    path("ask-without-request/", ask_without_request),
    path("ask-async/", ask_async),
    path("nothing/", ask_nothing),
    path("half-way/", change_half_way),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def visitor() -> Client:
    return Client()


def test_page_never_mixes_two_states(visitor):
    response = visitor.get("/half-way/")
    assert b"".join(response.streaming_content).split() == [b"False"] * 3
    assert visitor.get("/ask/").content == b"True"


def test_code_without_the_request_sees_the_state_of_the_request(visitor, set_rules):
    set_rules(everyone=True)
    assert visitor.get("/ask-without-request/").content == b"True"


def test_cookie_is_written_only_when_a_percentage_was_asked_about(visitor, set_rules):
    for rules in ({"everyone": True}, {"staff": True}, {"percent": "100"}, {"percent": "0"}):
        set_rules(**rules)
        response = visitor.get("/ask/")
        assert not response.cookies
        # Who is staff only the session can tell, and that has its own Vary.
        assert response.has_header("Vary") is ("staff" in rules)
    set_rules(percent="50")
    assert not visitor.get("/nothing/").cookies
    response = visitor.get("/ask/")
    assert response["Vary"] == "Cookie"
    morsel = response.cookies[COOKIE]
    assert (morsel["httponly"], morsel["samesite"], morsel["max-age"]) == (True, "Lax", 31536000)


def test_visitor_without_a_cookie_is_left_out_and_then_always_gets_the_same(visitor, set_rules):
    set_rules(percent="50")
    assert visitor.get("/ask/").content == b"False"
    id_ = visitor.cookies[COOKIE].value
    answers = [visitor.get("/ask/") for _ in range(5)]
    assert len({answer.content for answer in answers}) == 1
    assert not any(answer.cookies for answer in answers)
    assert all(answer["Vary"] == "Cookie" for answer in answers)
    assert visitor.cookies[COOKIE].value == id_


def test_about_half_of_the_visitors_get_half(set_rules):
    set_rules(percent="50")
    included = 0
    for _ in range(100):
        visitor = Client()
        visitor.get("/ask/")
        included += visitor.get("/ask/").content == b"True"
    assert 25 < included < 75


def test_forged_cookie_is_replaced(visitor, set_rules):
    set_rules(percent="99.99")
    visitor.cookies[COOKIE] = "chosen-id:forged"
    response = visitor.get("/ask/")
    assert response.content == b"False"
    assert response.cookies[COOKIE].value != "chosen-id:forged"


def test_secure_cookies_are_secure_here_too(visitor, set_rules, settings):
    settings.SESSION_COOKIE_SECURE = True
    set_rules(percent="50")
    assert visitor.get("/ask/").cookies[COOKIE]["secure"]


def test_person_with_a_login_gets_no_cookie_and_the_same_on_every_device(set_rules, anna):
    set_rules(percent="50")
    answers = set()
    for _ in range(3):
        device = Client()
        device.force_login(anna)
        response = device.get("/ask/")
        answers.add(response.content)
        assert COOKIE not in response.cookies
    assert answers == {str(evaluate_flag("dark_mode", user=anna).enabled).encode()}


@pytest.mark.parametrize("path_", ["/ask/", "/ask-async/"])
def test_under_asgi_it_is_the_same(set_rules, path_):
    set_rules(everyone=True)

    async def get():
        return await AsyncClient().get(path_)

    assert async_to_sync(get)().content == b"True"


def test_between_two_looks_a_request_costs_no_query(
    visitor, set_rules, django_assert_num_queries, settings
):
    settings.DEPLOY_OPS_FLAGS_POLL_SECONDS = 60
    set_rules(percent="50")
    visitor.get("/ask/")
    with django_assert_num_queries(0):
        for _ in range(3):
            visitor.get("/ask/")
