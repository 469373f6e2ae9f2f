"""override_flag and the fixture: in memory, inside, and nowhere else."""

import asyncio
import threading

import pytest
from django.db import connection

from deploy_ops.errors import UnknownFlag
from deploy_ops.flags.evaluation import evaluate_flag, flag_enabled
from deploy_ops.flags.testing import override_flag


@override_flag("dark_mode")
def is_dark() -> bool:
    return flag_enabled("dark_mode")


@override_flag("dark_mode")
async def is_dark_async() -> bool:
    await asyncio.sleep(0.01)
    return flag_enabled("dark_mode")


@pytest.fixture(autouse=True)
def _read_once(db):
    flag_enabled("dark_mode")


def test_it_forces_inside_only(django_assert_num_queries):
    with django_assert_num_queries(0):
        with override_flag("dark_mode"):
            assert evaluate_flag("dark_mode") == (True, "override")
        assert evaluate_flag("dark_mode") == (False, "default")


def test_it_comes_before_the_environment(monkeypatch):
    monkeypatch.setenv("ENABLE_DARK_MODE", "off")
    with override_flag("dark_mode"):
        assert flag_enabled("dark_mode")


def test_inner_one_wins_and_the_outer_one_comes_back():
    with override_flag("dark_mode"), override_flag("new_search", False):
        with override_flag("dark_mode", False):
            assert not flag_enabled("dark_mode") and not flag_enabled("new_search")
        assert flag_enabled("dark_mode")


def test_it_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), override_flag("dark_mode"):
        raise ZeroDivisionError
    assert not flag_enabled("dark_mode")


def test_it_decorates_functions():
    assert is_dark() and not flag_enabled("dark_mode")


def test_it_decorates_coroutines_and_stays_in_their_task():
    async def both():
        forced = asyncio.create_task(is_dark_async())
        await asyncio.sleep(0)
        meanwhile = flag_enabled("dark_mode")
        return await forced, meanwhile

    assert asyncio.run(both()) == (True, False)


def test_it_does_not_make_the_tests_of_a_class_vanish():
    with pytest.raises(TypeError, match="Decorate each test of the class"):

        @override_flag("dark_mode")
        class Tests:
            pass


def test_other_threads_see_nothing_of_it():
    seen = []

    def look() -> None:
        seen.append(flag_enabled("dark_mode"))
        connection.close()

    with override_flag("dark_mode"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [False]


def test_name_that_is_not_declared_is_an_error():
    with pytest.raises(UnknownFlag), override_flag("drak_mode"):
        pass


def test_fixture_forces_several(flags):
    flags(dark_mode=True, new_search=False)
    flags(old_menu=True)
    assert [flag_enabled(n) for n in ("dark_mode", "new_search", "old_menu")] == [True, False, True]
