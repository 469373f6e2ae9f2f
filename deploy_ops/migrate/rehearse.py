"""Run the plan on the backup that was just taken, in a process and a database of its own.

The process is a fork whose alias is the scratch database, so that code of migrations that opens
connections of its own opens them there too; other databases it may only read. What migrations do
outside of databases (mails, files) they do in a rehearsal as well.
"""

import json
import os
import signal
import time
from math import ceil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import RehearsalFailed
from deploy_ops.migrate.apply import text_of
from deploy_ops.migrate.history import History
from deploy_ops.migrate.plan import Step
from deploy_ops.migrate.point import scratch_copy, title_of
from deploy_ops.migrate.rehearsal import (
    BLOCKS,
    Held,
    Rehearsal,
    Rehearsed,
    Statement,
    strongest,
)
from deploy_ops.migrate.reversal import Reversal
from deploy_ops.migrate.run import Run
from deploy_ops.phases.waiting import run_contract
from deploy_ops.redact import statement_text


def rehearse(run: Run) -> Rehearsal:
    """Run forwards, backwards and forwards again; raises RehearsalFailed if it must not be run."""
    run.progress.say(f"Rehearsing on {title_of(run)}")
    with scratch_copy(run) as name:
        rehearsal = Rehearsal.from_json(_in_child(lambda: _rehearse_in(run, name).as_json()))
    for step in rehearsal.steps:
        run.progress.say(f"Rehearsed {step.name}: {step}")
    _judge(run, rehearsal)
    return rehearsal


def _judge(run: Run, rehearsal: Rehearsal) -> None:
    if rehearsal.error:
        raise RehearsalFailed(
            f"{rehearsal.failed} fails on the data of {title_of(run)}: {rehearsal.error}\n"
            f"No migration was run on database {run.database.database_name}. "
            "Correct the migration, and rehearse again."
        )
    held, most = rehearsal.longest(), conf.max_blocking.total_seconds()
    if held is not None and held.seconds > most:
        raise RehearsalFailed(
            f"All {held.blocks} of {held.table} would wait {held.seconds:.1f} s, longer than the "
            f"{most:.1f} s that DEPLOY_OPS_MAX_BLOCKING allows. No migration was run on database "
            f"{run.database.database_name}. Write the change in steps that hold no lock for long "
            "(docs/reference/phases.md), or allow it:\n"
            f"    DEPLOY_OPS_MAX_BLOCKING = {ceil(held.seconds) + 1}"
        )


def _in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do some work in a fork and return what it returns; nothing it changes is seen here."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _end_as_child(work, writing)
    os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            text = pipe.read()
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    _, status = os.waitpid(pid, 0)
    if not text:
        raise RehearsalFailed(
            f"The rehearsal ended without a result (status {os.waitstatus_to_exitcode(status)}). "
            "No migration was run on the live database."
        )
    result: dict[str, Any] = json.loads(text)
    return result


def _end_as_child(work: Callable[[], dict[str, Any]], writing: int) -> None:
    """Never returns: neither blocks nor connections of the parent are ended here."""
    try:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        with open(writing, "wb") as pipe:
            pipe.write(json.dumps(work()).encode())
        os._exit(0)
    finally:
        os._exit(1)


def _rehearse_in(run: Run, name: str) -> Rehearsal:
    """What the child does."""
    sampled = run.database.lock_sampler(name, tuple(BLOCKS))
    _use_database(run.alias, name)
    rehearsed: list[Rehearsed] = []
    for steps in _there_and_back(run.plan.steps):
        history = History.read(connections[run.alias])
        for step in steps:
            recorder = Recorder(run.alias)
            try:
                with sampled() as samples:
                    recorder.run(history, step)
            except Exception as error:  # pylint: disable=broad-exception-caught  # foreign code
                return Rehearsal(tuple(rehearsed), text_of(error), _named(step))
            rehearsed.append(recorder.rehearsed(step, strongest(samples.longest())))
    return Rehearsal(tuple(rehearsed))


def _there_and_back(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """All forwards; back as far as that is possible; and these forwards again."""
    yield steps
    back: list[Step] = []
    for step in reversed(steps):
        if step.backwards or step.contract or step.reversal is Reversal.IRREVERSIBLE:
            break
        back.append(step)
    yield tuple(replace(step, backwards=True) for step in back)
    yield tuple(reversed(back))


def _named(step: Step) -> str:
    return f"{step} (backwards)" if step.backwards else str(step)


def _use_database(alias: str, name: str) -> None:
    """Let the alias be the scratch database, and all others be read only."""
    settings = {**connections[alias].settings_dict, "NAME": name}
    for each in list(connections):
        del connections[each]  # the sessions belong to the parent, and are not ended by this
    connections.settings[alias] = settings
    connection_created.connect(partial(_only_read, alias), weak=False)


def _only_read(alias: str, connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.alias != alias:
        database_for(connection.alias).forbid_writes()


class Recorder:
    """One migration at work, watched."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._statements: list[Statement] = []
        self._before = database_for(alias).table_work()
        self._seconds = 0.0

    def run(self, history: History, step: Step) -> None:
        """Do it as safe_migrate does."""
        database, connection = database_for(self._alias), connections[self._alias]
        whole = transaction.atomic(self._alias) if step.is_atomic else nullcontext()
        started = time.monotonic()
        with (
            database.schema_changes_in_transaction(),
            connection.execute_wrapper(self._time),
            whole,
        ):
            if step.contract is not None:
                run_contract(connection, step.contract)
            elif step.backwards:
                history.unapply(step)
            else:
                history.apply(step)
        self._seconds = time.monotonic() - started

    def rehearsed(self, step: Step, held: tuple[Held, ...]) -> Rehearsed:
        """What it came to."""
        after = database_for(self._alias).table_work()
        both = [(before, after[oid]) for oid, before in self._before.items() if oid in after]
        return Rehearsed(
            name=str(step),
            backwards=step.backwards,
            seconds=round(self._seconds, 3),
            statements=tuple(self._statements),
            held=held,
            rewritten_bytes=sum(now.size_bytes for old, now in both if now.file != old.file),
            scanned_bytes=sum(old.size_bytes * (now.scans - old.scans) for old, now in both),
        )

    def _time(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        started = time.monotonic()
        try:
            return execute(sql, params, many, context)
        finally:
            seconds = round(time.monotonic() - started, 4)
            self._statements.append(Statement(statement_text(str(sql)), seconds))
