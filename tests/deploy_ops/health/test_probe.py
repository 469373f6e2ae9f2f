"""What a caller waits, what runs, what is kept and what is logged."""

import asyncio
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from deploy_ops.health import probe
from deploy_ops.health.probe import Outcome, Probe, aoutcomes, outcomes

SHORT = timedelta(seconds=0.3)


class Gate:
    """A check that hangs until it is opened, fails if told so, and counts its runs."""

    def __init__(self, is_open=True):
        self.opened = threading.Event()
        self.runs = 0
        self.error: BaseException | None = None
        if is_open:
            self.opened.set()

    def __call__(self):
        self.runs += 1
        self.opened.wait(10)
        if self.error:
            raise self.error


def timed(call):
    started = time.monotonic()
    return call(), time.monotonic() - started


def age(probe):
    """Let what is kept grow too old."""
    time.sleep(1.05)
    return probe


def test_outcome_is_kept_for_a_second():
    gate = Gate()
    probe = Probe("gate", gate)
    assert all(probe.outcome().is_ok for _ in range(100))
    assert gate.runs == 1
    assert age(probe).outcome().is_ok
    assert gate.runs == 2


def test_many_callers_share_one_run():
    gate, found = Gate(is_open=False), []
    probe = Probe("gate", gate)
    callers = [threading.Thread(target=lambda: found.append(probe.outcome())) for _ in range(30)]
    for caller in callers:
        caller.start()
    time.sleep(0.1)
    gate.opened.set()
    for caller in callers:
        caller.join()
    assert gate.runs == 1
    assert len(found) == 30 and all(outcome.is_ok for outcome in found)


def test_caller_waits_no_longer_than_the_deadline_and_latecomers_not_at_all():
    gate = Gate(is_open=False)
    probe = Probe("gate", gate, deadline=SHORT)
    outcome, seconds = timed(probe.outcome)
    assert outcome.reason == "no answer within 0.3 s" and 0.3 <= seconds < 0.5
    for _ in range(20):
        outcome, seconds = timed(probe.outcome)
        assert not outcome.is_ok and seconds < 0.1
    assert gate.runs == 1, "a run that is stuck is not joined by another"
    gate.opened.set()
    time.sleep(0.1)
    assert probe.outcome().is_ok, "it comes back by itself"


def test_deadline_counts_from_the_start_of_the_run():
    probe = Probe("gate", Gate(is_open=False), deadline=SHORT)
    probe.begin()
    time.sleep(0.2)
    outcome, seconds = timed(probe.outcome)
    assert not outcome.is_ok and seconds < 0.2


def test_what_failed_last_time_is_waited_for_only_briefly_but_seen_at_once_when_it_is_back():
    gate = Gate()
    gate.error = OSError("refused")
    probe = Probe("gate", gate, deadline=timedelta(seconds=5))
    assert probe.outcome().reason == "refused"
    gate.opened.clear()
    outcome, seconds = timed(age(probe).outcome)
    assert outcome.reason == "refused" and seconds < 0.3
    gate.error = None
    gate.opened.set()
    time.sleep(0.1)
    assert probe.outcome().is_ok


@pytest.mark.parametrize(
    "error, reason",
    [
        (ValueError("password=geheim in postgresql://anna:geheim@db/x"), "postgresql://"),
        (KeyError(), "KeyError"),
        (SystemExit("bye"), "bye"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_whatever_a_check_raises_is_a_failure_with_a_reason(error, reason):
    gate = Gate()
    gate.error = error
    outcome = Probe("gate", gate).outcome()
    assert not outcome.is_ok and reason in outcome.reason and "anna:geheim" not in outcome.reason


def test_log_has_the_change_and_not_every_poll(caplog):
    caplog.set_level("INFO")
    gate = Gate()
    probe = Probe("gate", gate)
    probe.outcome()
    gate.error = OSError("refused")
    for _ in range(2):
        age(probe).outcome()
    gate.error = None
    age(probe).outcome()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "Health check gate fails: refused"),
        ("INFO", "Health check gate passes again"),
    ]


def test_several_probes_wait_side_by_side():
    probes = {name: Probe(name, Gate(is_open=False), deadline=SHORT) for name in "abcd"}
    found, seconds = timed(lambda: outcomes(probes))
    assert list(found) == ["a", "b", "c", "d"] and seconds < 0.6


def test_one_that_hangs_does_not_make_the_others_run_again():
    runs = Counter()

    def quick():
        runs["quick"] += 1

    probes = {
        "hangs": Probe("hangs", lambda: time.sleep(3), is_watched=False),
        "quick": Probe("quick", quick, keep=timedelta(0), is_watched=False),
    }
    assert [each.is_ok for each in outcomes(probes).values()] == [False, True]
    assert runs["quick"] == 1


def test_run_that_ends_at_the_deadline_has_an_outcome_for_everybody():
    """Between the end of a run and its outcome nobody may find neither of them."""
    probe = Probe(
        "close",
        lambda: time.sleep(0.002),
        deadline=timedelta(seconds=0.002),
        keep=timedelta(0),
        is_watched=False,
    )
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as callers:
            found = list(callers.map(lambda _: probe.outcome(), range(4000)))
    finally:
        sys.setswitchinterval(before)
    assert len(found) == 4000


def test_same_in_an_event_loop():
    async def ask():
        stuck = {name: Probe(name, Gate(is_open=False), deadline=SHORT) for name in "ab"}
        well = {"c": Probe("c", Gate())}
        started = time.monotonic()
        found = await aoutcomes(stuck | well)
        return found, time.monotonic() - started

    found, seconds = asyncio.run(ask())
    assert [outcome.is_ok for outcome in found.values()] == [False, False, True]
    assert seconds < 0.6


def test_run_that_ends_after_its_event_loop_did_disturbs_nobody(caplog):
    gate = Gate(is_open=False)
    probe = Probe("gate", gate, deadline=timedelta(seconds=0.05))
    assert not asyncio.run(probe.aoutcome()).is_ok
    caplog.clear()
    gate.opened.set()
    time.sleep(0.1)
    assert probe.outcome().is_ok and caplog.records == []


def test_system_without_a_thread_left(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    probe = Probe("gate", Gate())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert probe.outcome().reason == "can't start new thread"
    assert probe.outcome().is_ok


FORK = """
import os, sys, threading
from deploy_ops.health.probe import Probe
hang = threading.Event()
probe = Probe("gate", lambda: hang.wait(20) if os.getpid() == parent else None)
parent = os.getpid()
assert not probe.outcome().is_ok        # a thread of the parent is stuck in its run
child = os.fork()
if child == 0:
    os._exit(0 if probe.outcome().is_ok else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_forked_worker_begins_anew():
    program = f"import django.conf; django.conf.settings.configure(){FORK}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_outcome_without_a_reason_is_well():
    assert Outcome().is_ok and not Outcome("refused").is_ok


def test_connection_that_cannot_be_closed_is_a_failure_and_keeps_nobody_waiting(monkeypatch):
    def fail():
        raise OSError("the server has gone away")

    monkeypatch.setattr(probe.connections, "close_all", fail)
    outcome, seconds = timed(Probe("closing", lambda: None, deadline=SHORT).outcome)
    assert (outcome.reason, seconds < 0.3) == ("the server has gone away", True)
