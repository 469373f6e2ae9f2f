"""Asking: by function, decorator, mixin and template tag; who is asked about, and at what cost."""

import os
import subprocess
import sys

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.http import Http404, HttpResponse
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from django.views.generic import View

from deploy_ops.errors import UnknownFlag
from deploy_ops.flags.evaluation import (
    FlagRequiredMixin,
    aflag_enabled,
    evaluate_flag,
    flag_enabled,
    flag_required,
)
from deploy_ops.flags.testing import override_flag

IN_PRODUCTION = """
import django, logging
django.setup()
from deploy_ops.flags.evaluation import evaluate_flag, flag_enabled
print(flag_enabled("no_such_flag"), flag_enabled("no_such_flag"), *evaluate_flag("no_such_flag"))
"""


def render(text: str, **context) -> str:
    return Template("{% load flags %}" + text).render(Context(context))


def test_unknown_name_is_an_error_in_tests(db):
    with pytest.raises(UnknownFlag, match="'drak_mode' is not declared in DEPLOY_OPS_FLAGS"):
        flag_enabled("drak_mode")


@pytest.mark.parametrize("debug", ["0", "1"])
def test_unknown_name_is_off_and_logged_once_in_production_and_an_error_in_debug(tmp_path, debug):
    settings = tmp_path / "live.py"
    settings.write_text(f"from kvb.app.settings_test import *\nDEBUG = {debug} == 1\n")
    done = subprocess.run(
        [sys.executable, "-c", IN_PRODUCTION],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "live", "PYTHONPATH": f"{tmp_path}:."},
        capture_output=True,
        text=True,
        check=False,
    )
    if debug == "1":
        assert "UnknownFlag: 'no_such_flag' is not declared" in done.stderr
    else:
        assert done.stdout.split() == ["False", "False", "False", "unknown"]
        assert done.stderr.count("no_such_flag") == 1


def test_user_of_the_request_is_asked_about(set_rules, anna, request_of):
    set_rules(users=frozenset({str(anna.pk)}))
    assert flag_enabled("dark_mode", request_of(anna))
    assert not flag_enabled("dark_mode", request_of())
    assert not flag_enabled("dark_mode")


def test_user_that_is_given_comes_before_that_of_the_request(set_rules, anna, request_of):
    set_rules(users=frozenset({str(anna.pk)}))
    assert flag_enabled("dark_mode", user=anna)
    assert flag_enabled("dark_mode", request_of(), user=anna)


def test_staff_and_superusers(set_rules, anna):
    set_rules(staff=True, superusers=True)
    assert evaluate_flag("dark_mode", user=anna) == (False, "database:no_match")
    anna.is_staff = True
    assert evaluate_flag("dark_mode", user=anna) == (True, "database:staff")
    anna.is_superuser = True
    assert evaluate_flag("dark_mode", user=anna) == (True, "database:superusers")


def test_groups_are_asked_for_once_and_only_if_a_rule_needs_them(
    set_rules, anna, pilots, django_assert_num_queries
):
    anna.groups.add(pilots)
    set_rules("new_search", percent="50")
    set_rules(groups=frozenset({"pilots"}))
    flag_enabled("old_menu")
    with django_assert_num_queries(0):
        flag_enabled("new_search", user=anna)
    with django_assert_num_queries(1):
        assert all(flag_enabled("dark_mode", user=anna) for _ in range(5))


def test_flag_for_everybody_looks_up_no_user(set_rules, request_of):
    set_rules(everyone=True)
    request = request_of()
    del request.user
    assert flag_enabled("dark_mode", request)


def test_who_logs_in_or_out_during_a_request_is_asked_about_from_then_on(
    set_rules, anna, request_of
):
    set_rules(users=frozenset({str(anna.pk)}))
    request = request_of()
    seen = []
    for user in (request.user, anna, User.objects.create_user("bert"), AnonymousUser()):
        request.user = user
        seen += [flag_enabled("dark_mode", request), flag_enabled("dark_mode", request, anna)]
    assert seen == [False, True, True, True, False, True, False, True]


def test_visitor_without_an_id_is_left_out_of_a_percentage(set_rules, request_of):
    set_rules(percent="99.99")
    assert evaluate_flag("dark_mode", request_of()) == (False, "database:no_id")
    forged = request_of(deploy_ops_visitor="me:forged")
    assert evaluate_flag("dark_mode", forged) == (False, "database:no_id")


@pytest.mark.parametrize("is_on", [True, False])
def test_decorated_view_is_not_found_while_the_flag_is_off(flags, request_of, is_on):
    flags(dark_mode=is_on)

    @flag_required("dark_mode")
    def view(_request, number):
        return number

    assert view.__name__ == "view"
    if is_on:
        assert view(request_of(), number=7) == 7
    else:
        with pytest.raises(Http404):
            view(request_of(), number=7)


def test_decorated_async_view_asks_without_blocking_the_loop(transactional_db, set_rules, anna):
    set_rules(groups=frozenset({"pilots"}))

    @flag_required("dark_mode")
    async def view(request):
        return "dark"

    class Request:
        user = anna

    async def ask():
        with pytest.raises(Http404):
            await view(Request())
        with override_flag("dark_mode"):
            return await view(Request())

    assert iscoroutinefunction(view)
    assert async_to_sync(ask)() == "dark"


def test_async_code_asks_with_aflag_enabled(transactional_db, set_rules, anna, pilots):
    anna.groups.add(pilots)
    set_rules(groups=frozenset({"pilots"}))
    assert async_to_sync(aflag_enabled)("dark_mode", user=anna)


def test_decorator_knows_an_async_class_based_view(transactional_db, set_rules, anna):
    set_rules(staff=True)  # the user has to be asked for, and not in the event loop
    anna.is_staff = True
    anna.save()

    class Page(View):
        async def get(self, _request):
            return HttpResponse("dark")

    async def ask():
        request = RequestFactory().get("/")
        request.user = SimpleLazyObject(lambda: User.objects.get(pk=anna.pk))
        return await flag_required("dark_mode")(Page.as_view())(request)

    assert async_to_sync(ask)().content == b"dark"


@pytest.mark.parametrize("is_on", [True, False])
def test_mixin_guards_a_class_based_view(flags, request_of, is_on):
    flags(dark_mode=is_on)

    class Page(FlagRequiredMixin, View):
        flag = "dark_mode"

        def get(self, _request):
            return HttpResponse("dark")

    if is_on:
        assert Page.as_view()(request_of()).content == b"dark"
    else:
        with pytest.raises(Http404):
            Page.as_view()(request_of())


@pytest.mark.parametrize("is_on", [True, False])
def test_mixin_guards_an_async_class_based_view(flags, request_of, is_on):
    flags(dark_mode=is_on)

    class Page(FlagRequiredMixin, View):
        flag = "dark_mode"

        async def get(self, _request):
            return HttpResponse("dark")

    async def ask():
        return await Page.as_view()(await sync_to_async(request_of)())

    if is_on:
        assert async_to_sync(ask)().content == b"dark"
    else:
        with pytest.raises(Http404):
            async_to_sync(ask)()


@pytest.mark.parametrize("is_on", [True, False])
def test_template_tag_renders_one_of_two(flags, is_on):
    flags(dark_mode=is_on)
    text = '{% flag "dark_mode" %}dark{% else %}light{% endflag %}'
    assert render(text) == ("dark" if is_on else "light")
    assert render('[{% flag "dark_mode" %}dark{% endflag %}]') == ("[dark]" if is_on else "[]")
    assert render(f"{{% flag name %}}{text}{{% endflag %}}", name="dark_mode") in ("dark", "")


def test_template_tag_asks_about_who_sees_the_page(set_rules, anna, request_of):
    set_rules(users=frozenset({str(anna.pk)}))
    text = '{% flag "dark_mode" %}dark{% else %}light{% endflag %}'
    assert render(text, request=request_of(anna)) == "dark"
    assert render(text, user=anna) == "dark"
    # A page about Anna that somebody else looks at.
    assert render(text, request=request_of(), user=anna) == "light"


@pytest.mark.parametrize("text", ["{% flag %}{% endflag %}", '{% flag "a" "b" %}{% endflag %}'])
def test_template_tag_wants_one_name(text):
    with pytest.raises(TemplateSyntaxError, match="takes one name"):
        render(text)
