"""The findings C010 to C013."""

import pytest
from django.core.checks import run_checks

from deploy_ops.flags.checks import check_flags_before_the_cache
from deploy_ops.flags.declaration import Flag


def found(**options):
    messages = run_checks(**options)
    return [m for m in messages if m.id in {f"deploy_ops.C0{n}" for n in (10, 11, 12)}]


def test_c010_a_flag_that_was_to_be_removed(db):
    [message] = found(tags=["deploy_ops"])
    assert message.id == "deploy_ops.C010"
    assert message.msg == "The flag old_menu was to be removed by 2020-01-31."


def test_c011_a_row_that_nothing_declares(set_rules, settings):
    set_rules(everyone=True)
    settings.DEPLOY_OPS_FLAGS = {"new_search": Flag("x")}
    assert found() == []
    [message] = found(databases=["default"])
    assert message.id == "deploy_ops.C011"
    assert message.hint == "Remove them:\n    python manage.py flags clear dark_mode"


def test_c011_is_silent_before_the_first_migration(project):
    result = project.run("check", "--database", "default")
    assert (result.code, result.stderr) == (0, "")


@pytest.mark.parametrize(("order", "found"), [((0, 1), ["deploy_ops.C013"]), ((1, 0), [])])
def test_c013_pages_that_are_cached_before_flags_say_for_whom(settings, order, found):
    both = (
        "deploy_ops.flags.middleware.FlagsMiddleware",
        "django.middleware.cache.UpdateCacheMiddleware",
    )
    settings.MIDDLEWARE = [both[number] for number in order]
    assert [each.id for each in check_flags_before_the_cache()] == found


def test_c012_flags_without_the_middleware(settings):
    settings.DEPLOY_OPS_FLAGS = {"new_search": Flag("x")}
    assert found() == []
    settings.MIDDLEWARE = []
    [message] = found()
    assert message.id == "deploy_ops.C012"
    settings.DEPLOY_OPS_FLAGS = {}
    assert found() == []
