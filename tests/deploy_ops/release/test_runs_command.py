"""`runs`: every run whose journal is there, and how it ended or that it did not."""

import json
import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from deploy_ops.lock_file import Holder
from deploy_ops.migrate.journal import Journal, find_run
from deploy_ops.errors import DatabaseUnavailable, UsageError
from deploy_ops.release import runs

PLAN = [("shop", "0001_initial", False), ("shop", "0002_change", False)]
ME = {"process": 4711, "host": "web-1"}


@pytest.fixture(autouse=True)
def nobody_at_work(tmp_path, settings, monkeypatch):
    settings.DEPLOY_OPS_STATE_DIR = tmp_path / "ops"
    monkeypatch.setattr(runs, "lock_holders", lambda alias: [])


def begin(*steps, **facts) -> str:
    """The journal of a run that has written these steps."""
    journal = Journal.start(database="shop at db", key="k", plan=PLAN, **{**ME, **facts})
    for name, more in steps:
        journal.record(name, **more)
    journal.close()
    return journal.run


def lines():
    out = StringIO()
    call_command("runs", stdout=out)
    return out.getvalue().splitlines()


def states():
    return {run.id: run.state for run in runs.all_runs()}


def test_no_run_is_noted_yet():
    assert lines()[0].startswith("No runs are recorded in ")


def test_each_run_is_a_line_with_how_it_ended_the_newest_first():
    begin(
        ("backed_up", {"backup": "20260131T020000Z-0123abcd"}),
        ("migration_applied", {"migrations": [PLAN[0][:2]]}),
        ("migration_applied", {"migrations": [PLAN[1][:2]]}),
        ("finished", {"status": "ok"}),
    )
    begin(
        ("migration_applied", {"migrations": [PLAN[0][:2]]}),
        ("recovered", {"rung": "reversed"}),
        ("finished", {"status": "recovered"}),
        command=("rollback", "--to", "v1.0.0"),
    )
    heading, second, first = lines()
    assert heading.split() == "ID BEGAN AGE WHAT DATABASE STEPS STATE TOOK BACKUP NOTES".split()
    assert re.split(r"  +", first)[2:] == (
        ["0 min", "safe_migrate", "shop at db", "2", "done", "0.0 s", "20260131T020000Z-0123abcd"]
    )
    assert re.split(r"  +", second)[2:] == (
        ["0 min", "rollback --to v1.0.0", "shop at db", "1 of 2", "failed, and reversed", "0.0 s"]
    )


def test_what_did_not_end_is_told_with_the_command_that_goes_on():
    run = begin(("migration_started", {"migrations": [PLAN[0][:2]]}))
    _, line, *hint = lines()
    assert "0 of 2" in line and "did not end" in line
    assert hint[-1] == "    python manage.py safe_migrate" and states() == {run: "unresolved"}


def test_a_run_whose_process_holds_the_lock_is_at_work(monkeypatch):
    run = begin()
    holder = Holder("safe_migrate", ME["process"], ME["host"], None)
    monkeypatch.setattr(runs, "lock_holders", lambda alias: [holder])
    assert states() == {run: "at_work"} and len(lines()) == 2


def test_a_run_that_ends_while_the_lock_is_looked_at_was_not_cut_off(monkeypatch):
    journal = Journal.start(plan=PLAN, **ME)

    def end(_alias):
        journal.record("finished", status="ok")
        return []

    monkeypatch.setattr(runs, "lock_holders", end)
    assert states() == {journal.run: "done"}


def test_where_the_database_does_not_answer_it_is_not_known_whether_a_run_goes_on(monkeypatch):
    def unavailable(_alias):
        raise DatabaseUnavailable("down")

    monkeypatch.setattr(runs, "lock_holders", unavailable)
    run, other = begin(), begin(alias="gone")
    assert states() == {run: "unknown", other: "unknown"}
    assert "did not end, or is at work" in lines()[1]


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ("", "unresolved"),
        ('{"step": "started", "at": "soon", "plan": 7, "alias": []}\n\xff\n', "unresolved"),
        ('{"step": "started"}\n{"step": "finished", "status": "error"}\n', "stopped"),
        ('{"step": "started"}\n{"step": "finished", "status": 9}\n', "failed"),
        (
            '{"step": "started"}\n{"step": "resolved", "outcome": "\\u001b[2Jit ended."}\n',
            "resolved",
        ),
    ],
    ids=["empty", "damaged", "stopped", "odd status", "resolved"],
)
def test_whatever_a_journal_says_it_is_listed(content, state):
    run = begin()
    [path] = {each.path for each in runs.read_runs()}
    path.write_text(content, encoding="latin-1")
    assert states() == {run: state}
    assert "\x1b" not in "\n".join(lines())


def test_the_beginning_of_a_run_names_it_and_garbage_none():
    first, second = begin(), begin()
    assert find_run(first) == first and find_run(second[:24]) == second
    for odd in ("20250101", "garbage", "", "../x", first[:4]):
        with pytest.raises(UsageError, match="(?s)There is no run .*python manage.py runs"):
            find_run(odd)
    with pytest.raises(UsageError, match="is the beginning of 2 ids"):
        find_run(first[:8])
    with pytest.raises(CommandError) as refused:
        call_command("safe_migrate", resolved="20250101", stderr=StringIO())
    assert refused.value.returncode == 2


def test_json_has_a_run_with_everything_that_is_known(capsys):
    begin(("finished", {"status": "ok"}))
    call_command("runs", format="json", limit=1)
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert (run["state"], run["steps"], run["committed"]) == ("done", 2, 0)
