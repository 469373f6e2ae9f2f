"""Reading: one look at one row a second, and what happens when the database does not answer."""

import asyncio
import logging
import threading

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, transaction

from deploy_ops.errors import InvalidRules
from deploy_ops.flags.change import Source, change_flag, stored_rules
from deploy_ops.flags.evaluation import flag_enabled
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.store import Store
from deploy_ops.flags.testing import forget_flags
from deploy_ops.models import FlagChange, FlagState, FlagVersion

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""

    class Clock:
        now = 1000.0

        def __call__(self) -> float:
            return self.now

    stopped = Clock()
    monkeypatch.setattr("deploy_ops.flags.store.time.monotonic", stopped)
    return stopped


@pytest.fixture
def other_process():
    """A store that shares nothing with this process but the database."""
    return Store()


def change(rules, name="dark_mode"):
    change_flag(name, rules, expected_revision=stored_rules(name)[1], by="anna", source=Source.CODE)


def is_dark(store) -> bool:
    return store.current().states["dark_mode"].fixed.enabled


def test_between_two_looks_nothing_is_asked(clock, django_assert_num_queries):
    flag_enabled("dark_mode")
    clock.now += 0.999
    with django_assert_num_queries(0):
        for _ in range(100):
            flag_enabled("dark_mode")


def test_after_a_second_one_row_is_looked_at(clock, django_assert_num_queries):
    flag_enabled("dark_mode")
    clock.now += 1
    with django_assert_num_queries(1):
        for _ in range(100):
            flag_enabled("dark_mode")


def test_rules_are_read_again_only_if_something_changed(
    clock, other_process, django_assert_num_queries
):
    assert not is_dark(other_process)
    change(Rules(everyone=True))
    assert not is_dark(other_process)
    clock.now += 1
    with django_assert_num_queries(2):
        assert is_dark(other_process)


@pytest.mark.parametrize("seconds", [0.5, 5, 60])
def test_interval_is_a_setting(settings, clock, other_process, seconds):
    settings.DEPLOY_OPS_FLAGS_POLL_SECONDS = seconds
    is_dark(other_process)
    change(Rules(everyone=True))
    clock.now += seconds - 0.01
    assert not is_dark(other_process)
    clock.now += 0.01
    assert is_dark(other_process)


def test_interval_of_zero_looks_every_time(settings, clock, other_process):
    settings.DEPLOY_OPS_FLAGS_POLL_SECONDS = 0
    is_dark(other_process)
    change(Rules(everyone=True))
    assert is_dark(other_process)


def test_restore_that_rewinds_to_the_same_number_is_noticed(clock, other_process):
    change(Rules(everyone=True))
    assert is_dark(other_process)
    FlagState.objects.all().delete()
    FlagVersion.objects.update(version=0)
    FlagChange._base_manager.all().delete()
    change(Rules(everyone=False))
    assert FlagVersion.objects.get().version == 1
    clock.now += 1
    assert not is_dark(other_process)


def test_in_a_transaction_the_last_snapshot_holds(clock, other_process, django_assert_num_queries):
    is_dark(other_process)
    change(Rules(everyone=True))
    clock.now += 1
    with transaction.atomic(), django_assert_num_queries(0):
        assert not is_dark(other_process)
    assert is_dark(other_process)


def test_what_was_read_first_inside_a_transaction_is_read_again(clock, other_process):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        change(Rules(everyone=True))
        assert is_dark(other_process)
        raise ZeroDivisionError
    assert not is_dark(other_process)


def test_what_a_transaction_saw_ends_with_it_for_the_next_one_too(other_process):
    """Else a command that works in transactions alone would go on with what was rolled back."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with transaction.atomic():
            change(Rules(everyone=True))
            assert is_dark(other_process)
        assert is_dark(other_process)
        raise ZeroDivisionError
    with transaction.atomic():
        assert not is_dark(other_process)


def test_within_one_transaction_it_is_read_once(other_process, django_assert_num_queries):
    with transaction.atomic():
        is_dark(other_process)
        with django_assert_num_queries(2), transaction.atomic():  # those of the savepoint
            is_dark(other_process)


def test_row_that_makes_no_sense_leaves_the_last_state_and_is_logged(
    clock, other_process, caplog, monkeypatch
):
    change(Rules(everyone=True))
    assert is_dark(other_process)
    change(Rules(everyone=False))
    clock.now += 1

    def refuse(_state):
        raise InvalidRules()

    monkeypatch.setattr("deploy_ops.flags.stored.rules_of", refuse)
    assert is_dark(other_process)
    assert errors(caplog) == ["the last known state"]


def test_cold_process_is_due_while_another_request_reads(clock, other_process, monkeypatch):
    """A second request in an event loop would wait there for the first one's answer."""
    due = []
    read = other_process._read

    def read_and_look(*args):
        due.append(other_process.is_due())
        return read(*args)

    monkeypatch.setattr(other_process, "_read", read_and_look)
    other_process.current()
    assert due == [True] and not other_process.is_due()


def test_failing_first_read_leaves_the_transaction_usable(other_process, without_tables):
    with transaction.atomic():
        assert not is_dark(other_process)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")


def test_without_the_tables_the_declarations_hold_and_one_error_is_logged(
    clock, other_process, without_tables, caplog, monkeypatch
):
    monkeypatch.setenv("ENABLE_DARK_MODE", "on")
    for _ in range(5):
        states = other_process.current().states
        assert states["dark_mode"].fixed == (True, "environment")
        assert states["new_search"].fixed == (True, "default")
        clock.now += 1
    assert errors(caplog) == ["the environment and the declarations"]


def test_once_the_tables_are_gone_the_last_state_holds_until_they_come_back(
    clock, other_process, caplog, without_tables_for
):
    change(Rules(everyone=True))
    assert is_dark(other_process)
    for _ in range(2):
        with without_tables_for():
            for _ in range(3):
                clock.now += 1
                assert is_dark(other_process)
        clock.now += 1
        assert is_dark(other_process)
    assert errors(caplog) == ["the last known state"] * 2
    change(Rules(everyone=False))
    clock.now += 1
    assert not is_dark(other_process)


def test_threads_of_a_cold_process_wait_for_the_first_snapshot(monkeypatch):
    """Else the first requests of a worker would meet no snapshot at all."""
    store, entered, go = Store(), threading.Event(), threading.Event()
    read = store._read

    def slow_read(*args):
        entered.set()
        assert go.wait(10)
        return read(*args)

    monkeypatch.setattr(store, "_read", slow_read)
    seen = []
    threads = [threading.Thread(target=_look, args=[store, seen]) for _ in range(8)]
    threads[0].start()
    assert entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 and len(set(map(id, seen))) == 1


def test_threads_of_a_warm_process_do_not_wait_for_the_one_that_looks(monkeypatch, clock):
    store = Store()
    first = store.current()
    clock.now += 1
    during = []
    read = store._read

    def read_and_let_others_in(*args):
        thread = threading.Thread(target=_look, args=[store, during])
        thread.start()
        thread.join(10)
        return read(*args)

    monkeypatch.setattr(store, "_read", read_and_let_others_in)
    store.current()
    assert during == [first]


def test_coroutine_goes_on_with_the_last_snapshot(clock):
    async def ask():
        return flag_enabled("new_search")

    forget_flags()
    with pytest.raises(SynchronousOnlyOperation):
        asyncio.run(ask())
    flag_enabled("new_search")
    clock.now += 1
    assert asyncio.run(ask())


def _look(store, seen):
    try:
        seen.append(store.current())
    finally:
        connection.close()


@pytest.fixture
def without_tables_for(caplog):
    caplog.set_level(logging.INFO, "deploy_ops.flags")

    class Renamed:
        """The table is there under another name: a real error of a real database."""

        def __enter__(self):
            rename("deploy_ops_flagversion", "gone")

        def __exit__(self, *_error):
            rename("gone", "deploy_ops_flagversion")

    return Renamed


@pytest.fixture
def without_tables(without_tables_for):
    with without_tables_for():
        yield


def rename(old: str, new: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


def errors(caplog) -> list[str]:
    found = [record for record in caplog.records if record.name == "deploy_ops.flags"]
    return [record.args[1] for record in found if record.levelname == "ERROR"]
