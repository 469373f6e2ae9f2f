"""Writing: row, version and history together, and nobody's change lost."""

import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.db import IntegrityError, connection, transaction

from deploy_ops.audit import Kind, Outcome, read_events
from deploy_ops.errors import FlagConflict, HistoryImmutable, UnknownFlag
from deploy_ops.flags.change import Source, change_flag, stored_rules
from deploy_ops.flags.checks import check_overdue_flags
from deploy_ops.flags.evaluation import flag_enabled
from deploy_ops.flags.overview import flag_overview, flag_overviews
from deploy_ops.flags.rules import Rules
from deploy_ops.models import FlagChange, FlagState, FlagVersion

ON, OFF = Rules(everyone=True), Rules(everyone=False)
EVERY_RULE = Rules(
    percentage=Decimal("0.25"),
    users=frozenset({"1", "2"}),
    groups=frozenset({"pilots"}),
    staff=True,
    superusers=True,
    starts_at=datetime(2027, 1, 1, tzinfo=UTC),
    ends_at=datetime(2027, 2, 1, tzinfo=UTC),
)


def change(rules, *, expected_revision=None, name="dark_mode", by="anna", **options):
    expected_revision = stored_rules(name)[1] if expected_revision is None else expected_revision
    return change_flag(
        name, rules, expected_revision=expected_revision, by=by, source=Source.CODE, **options
    )


@pytest.mark.parametrize(
    "rules", [ON, OFF, Rules(), EVERY_RULE], ids=["on", "off", "none", "every"]
)
def test_rules_come_back_as_they_were_stored(db, rules):
    change(rules)
    assert stored_rules("dark_mode") == (rules, 1)


def test_every_change_is_in_the_history(db):
    change(ON, reason=" The index is built. ")
    change(EVERY_RULE, by="bert")
    change(None)
    newest, middle, first = FlagChange.objects.all()
    assert (first.old, first.new, first.by) == (None, {"everyone": True}, "anna")
    assert (first.reason, first.source, first.flag) == ("The index is built.", "code", "dark_mode")
    assert (middle.old, middle.new, middle.by) == ({"everyone": True}, EVERY_RULE.as_json(), "bert")
    assert (newest.old, newest.new) == (EVERY_RULE.as_json(), None)
    assert [each.version for each in (first, middle, newest)] == [1, 2, 3]
    assert stored_rules("dark_mode") == (None, 0)


def test_every_change_is_in_the_audit_once_it_is_committed(
    db, settings, tmp_path, django_capture_on_commit_callbacks
):
    settings.DEPLOY_OPS_STATE_DIR = tmp_path / "state"
    with django_capture_on_commit_callbacks(execute=True):
        change(ON, reason="The index is built.")
        change(ON)
        assert read_events(tmp_path / "state") == []
    (event,) = read_events(tmp_path / "state")
    assert (event.kind, event.outcome, event.by) == (Kind.FLAG, Outcome.DONE, "anna")
    assert event.details == {
        "flag": "dark_mode",
        "source": "code",
        "reason": "The index is built.",
        "old": None,
        "new": {"everyone": True},
    }


def test_same_rules_again_change_nothing(db):
    change(ON)
    assert change(Rules(everyone=True)) is None
    assert FlagChange.objects.count() == FlagVersion.objects.get().version == 1


def test_second_of_two_editors_sees_a_conflict(db):
    _, revision = stored_rules("dark_mode")
    change(ON, expected_revision=revision, by="anna")
    with pytest.raises(FlagConflict, match="anna changed dark_mode at 20.* after you had looked"):
        change(OFF, expected_revision=revision, by="bert")
    assert stored_rules("dark_mode")[0] == ON
    assert FlagVersion.objects.get().version == 1


def test_conflict_is_seen_even_if_the_row_was_removed_and_made_again(db):
    change(ON)
    _, revision = stored_rules("dark_mode")
    change(None)
    change(OFF)
    with pytest.raises(FlagConflict):
        change(ON, expected_revision=revision)


def test_editors_of_two_flags_do_not_disturb_each_other(db):
    revisions = {name: stored_rules(name)[1] for name in ("dark_mode", "new_search")}
    for name, revision in revisions.items():
        change(ON, name=name, expected_revision=revision)
    assert FlagState.objects.count() == 2


def test_project_without_time_zones_keeps_the_moment(db, settings):
    settings.USE_TZ = False
    starts_at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    entry = change(Rules(starts_at=starts_at))
    assert stored_rules("dark_mode")[0] == Rules(starts_at=starts_at)
    assert entry.new == {"starts_at": "2026-07-01T12:00:00+00:00"}
    assert [flag.is_overdue for flag in flag_overviews()] == [False, False, True]
    assert [found.id for found in check_overdue_flags()] == ["deploy_ops.C010"]


def test_unknown_name_is_not_stored_but_an_old_row_can_be_removed(db, settings):
    with pytest.raises(UnknownFlag):
        change(ON, name="drak_mode")
    change(ON)
    settings.DEPLOY_OPS_FLAGS = {}
    with pytest.raises(UnknownFlag):
        change(OFF)
    change(None)
    assert not FlagState.objects.exists()


def test_change_in_a_transaction_that_rolls_back_leaves_nothing(transactional_db):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        change(ON)
        raise ZeroDivisionError
    assert not FlagState.objects.exists() and not FlagChange.objects.exists()
    assert not flag_enabled("dark_mode")


def test_writer_sees_its_own_change_at_once(transactional_db, settings):
    settings.DEPLOY_OPS_FLAGS_POLL_SECONDS = 3600
    assert not flag_enabled("dark_mode")
    change(ON)
    assert flag_enabled("dark_mode")


def test_history_cannot_be_changed(db):
    change(ON)
    entry = FlagChange.objects.get()
    attempts = [
        entry.save,
        entry.delete,
        FlagChange.objects.all().delete,
        lambda: FlagChange.objects.update(by="nobody"),
        lambda: FlagChange.objects.filter(flag="dark_mode").update(by="nobody"),
    ]
    for attempt in attempts:
        with pytest.raises(HistoryImmutable):
            attempt()
    assert FlagChange.objects.get().by == "anna"


@pytest.mark.parametrize(
    "columns",
    [
        {"percentage": Decimal("100.01")},
        {"percentage": Decimal("-1")},
        {
            "starts_at": datetime(2027, 1, 2, tzinfo=UTC),
            "ends_at": datetime(2027, 1, 1, tzinfo=UTC),
        },
    ],
)
def test_database_refuses_what_makes_no_sense(db, columns):
    with pytest.raises(IntegrityError):
        FlagState.objects.create(name="dark_mode", revision=1, **columns)


def test_database_refuses_a_second_version(db):
    change(ON)
    with pytest.raises(IntegrityError):
        FlagVersion.objects.create(id=2)


def test_there_is_a_permission_of_its_own_to_toggle(db):
    names = Permission.objects.filter(content_type__app_label="deploy_ops")
    found = set(names.values_list("codename", flat=True))
    assert {"toggle_flag", "change_flagstate", "view_flagchange"} <= found
    assert not found & {"change_flagchange", "delete_flagchange", "change_flagversion"}


def test_overview_tells_all_that_is_known(db, monkeypatch, settings):
    change(EVERY_RULE, name="new_search")
    change(OFF, name="old_menu", by="anna")
    change(ON, name="old_menu", by="bert")
    monkeypatch.setenv("ENABLE_DARK_MODE", "on")
    settings.DEPLOY_OPS_FLAGS = {
        name: flag for name, flag in settings.DEPLOY_OPS_FLAGS.items() if name != "new_search"
    }
    dark, old, gone = flag_overviews()
    assert (dark.name, dark.source, dark.is_on, dark.is_forced) == (
        "dark_mode", "environment", True, True,
    )  # fmt: skip
    assert (dark.revision, dark.rules, dark.last_change) == (0, None, None)
    assert (old.name, old.source, old.is_overdue, old.is_stale) == (
        "old_menu", "database", True, True,
    )  # fmt: skip
    assert old.last_change.by == "bert" and old.first_changed_at < old.last_change.at
    assert (gone.name, gone.source, gone.is_undeclared) == ("new_search", "undeclared", True)
    assert gone.rules == EVERY_RULE and gone.is_on is False


def test_overview_of_a_name_that_is_neither_declared_nor_stored(db):
    with pytest.raises(UnknownFlag, match="Declared: dark_mode, new_search, old_menu"):
        flag_overview("drak_mode")


@pytest.mark.skipif(connection.vendor == "sqlite", reason="in memory there is one connection")
def test_of_many_editors_at_once_each_change_is_kept_or_refused(transactional_db):
    """Also the very first change, for which there is no row to lock yet."""
    outcomes = []
    start = threading.Barrier(8)

    def edit(number: int) -> None:
        _, revision = stored_rules("dark_mode")
        start.wait()
        try:
            change(
                Rules(users=frozenset({str(number)})), expected_revision=revision, by=str(number)
            )
            outcomes.append(number)
        except FlagConflict:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=edit, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = outcomes
    assert stored_rules("dark_mode")[0].users == {str(winner)}
    assert [each.by for each in FlagChange.objects.all()] == [str(winner)]
