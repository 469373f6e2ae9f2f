"""The journal survives what kills its writer."""

import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from deploy_ops.databases import database_for
from deploy_ops.errors import ConfigurationError, JournalFailed, UnresolvedRun
from deploy_ops.history import Release, record_release
from deploy_ops.migrate.journal import (
    Journal,
    Record,
    new_run_id,
    open_runs,
    prune_runs,
    read_runs,
    referred_backups,
    unresolved_runs,
)
from deploy_ops.migrate.past import planned_since
from deploy_ops.migrate.resume import resolve_restored


@pytest.fixture(autouse=True)
def ops_dir(tmp_path, settings):
    settings.DEPLOY_OPS_STATE_DIR = tmp_path / "ops"
    return tmp_path / "ops"


def test_a_run_is_unresolved_until_it_says_how_it_ended():
    journal = Journal.start(key="trips")
    assert [record.run for record in unresolved_runs("trips")] == [journal.run]
    journal.record("finished", status="ok")
    assert unresolved_runs("trips") == []


def test_runs_of_one_second_are_in_the_order_of_their_making():
    made = [Journal.start(key="trips").run for _ in range(20)]
    assert [record.run for record in read_runs()] == made


class Clock(datetime):
    """Set back by a day."""

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) - timedelta(days=1)


def test_a_clock_that_is_set_back_changes_no_order(monkeypatch):
    plan = [("trips", "0002_change", False)]
    Journal.start(key="trips", plan=[("trips", "0001_initial", False)]).close()
    release = new_run_id()
    record_release(Release("1.0.0", "", release, "trips", None, []), {})
    monkeypatch.setattr("deploy_ops.migrate.journal.datetime", Clock)
    later = Journal.start(key="trips", plan=plan)
    assert later.run > release
    assert planned_since("trips", release) == {("trips", "0002_change")}


def test_journals_from_when_ids_were_random_sort_by_their_second():
    first, last = Journal.start(key="trips"), Journal.start(key="trips")
    older = first.path.with_name("20260131T020000Z-ffffffff.jsonl")
    older.touch()
    assert [record.run for record in read_runs()] == [older.stem, first.run, last.run]


def test_runs_of_other_databases_are_not_ours_to_resolve():
    Journal.start(key="elsewhere")
    assert unresolved_runs("trips") == []


def test_a_line_cut_off_by_a_crash_is_passed_over():
    journal = Journal.start(key="trips")
    journal.record("backed_up", backup="20260131T020000Z-0123abcd")
    [record] = read_runs()
    with record.path.open("a") as file:
        file.write('{"step": "finis')
    [record] = read_runs()
    assert [step["step"] for step in record.steps] == ["started", "backed_up"]
    assert not record.is_resolved


def test_what_resolves_a_run_is_not_written_behind_half_a_line():
    Journal.start(key="trips").close()
    [record] = read_runs()
    with record.path.open("a") as file:
        file.write('{"step": "migration_appl')
    Journal.reopen(record).record("resolved", outcome="rolled back")
    [record] = read_runs()
    assert [step["step"] for step in record.steps] == ["started", "resolved"]
    assert unresolved_runs("trips") == []


def test_an_empty_journal_counts_as_unresolved(ops_dir):
    (ops_dir / "runs").mkdir(mode=0o700, parents=True)
    (ops_dir / "runs" / "20260131T020000Z-0123abcd.jsonl").touch()
    assert len(unresolved_runs("trips")) == 1


def test_a_backup_is_referred_to_while_its_run_is_open():
    journal = Journal.start(key="trips")
    journal.record("backed_up", backup="20260131T020000Z-0123abcd")
    assert referred_backups() == {"20260131T020000Z-0123abcd"}
    journal.record("finished", status="ok")
    assert referred_backups() == set()


def test_a_full_disk_stops_the_run_with_the_way_on():
    journal = Journal.start(key="trips")
    os.dup2(os.open("/dev/full", os.O_WRONLY), journal._descriptor)
    with pytest.raises(JournalFailed, match="(?s)No space left on device.*safe_migrate") as failure:
        journal.record("migration_started")
    assert failure.value.exit_code == 4


def test_only_resolved_journals_age():
    resolved, still_open = Journal.start(key="a"), Journal.start(key="a")
    resolved.record("finished", status="ok")
    assert prune_runs(datetime.now(UTC)) == 0
    assert prune_runs(datetime.now(UTC) + timedelta(days=91)) == 1
    assert [record.run for record in read_runs()] == [still_open.run]


def test_journals_are_private(ops_dir):
    Journal.start(key="trips")
    [record] = read_runs()
    assert record.path.stat().st_mode & 0o777 == 0o600
    assert (ops_dir / "runs").stat().st_mode & 0o777 == 0o700


def damaged_journal(lines):
    journal = Journal.start(key="trips")
    journal.path.write_bytes(lines)
    [record] = read_runs()
    return record


def test_a_damaged_line_before_a_readable_end_is_only_named():
    record = damaged_journal(b'{"step": "started"}\n\xff\n{"step": "finished"}\n')
    assert record.is_resolved and record.damage.endswith("lines that cannot be read: 2")
    record.check_readable("default")


@pytest.mark.parametrize("end", [b"\xff\n", b'["step", "finished"]\n', b'{"step": ["finished"]}\n'])
def test_a_run_whose_end_cannot_be_read_is_unresolved_and_asks_for_a_person(end):
    record = damaged_journal(b'{"step": "started", "key": "trips"}\n' + end)
    assert [each.run for each in unresolved_runs("trips")] == [record.run]
    with pytest.raises(UnresolvedRun, match=f"(?s){record.path}.*\n    mv {record.path} "):
        record.check_readable("default")
    assert prune_runs(datetime.now(UTC) + timedelta(days=91)) == 0


def test_a_run_that_cannot_say_on_which_database_it_was_may_have_been_on_ours():
    damaged_journal(b'\xff\n{"step": "backed_up", "backup": "x"}\n')
    assert len(unresolved_runs("trips")) == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("at", [b'"soon"', b'"2026-01-31T02:00:00"', b"7", b"null"])
def test_a_restore_is_not_stopped_by_a_run_whose_beginning_cannot_be_read(at, django_alias):
    """It has replaced the database by then."""
    damaged_journal(b'{"step": "started", "at": ' + at + b"}\n\xff\n")
    backup = SimpleNamespace(
        id="x", run=None, at=datetime(2026, 1, 1, tzinfo=UTC), title="backup x"
    )
    resolve_restored(django_alias, backup)
    is_known = at.startswith(b'"2026')
    assert len(unresolved_runs(database_for(django_alias).key())) == (not is_known)


def test_a_run_keeps_its_backup_though_the_line_that_names_it_is_damaged():
    record = damaged_journal(b'{"step": "started", "key": "trips"}\n\xff\n')
    assert open_runs() == {record.run}


def test_a_journal_that_cannot_be_made_is_told_in_a_sentence(ops_dir):
    (ops_dir / "runs").mkdir(mode=0o700, parents=True)
    [record] = [Record(ops_dir / "runs" / "x.jsonl")]
    os.mkfifo(record.path)
    with pytest.raises(ConfigurationError, match="journal .*x.jsonl cannot be opened: it is not a"):
        Journal.reopen(record)
