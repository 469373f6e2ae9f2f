"""Types, the schema in between, and snapshots, without a database server."""

from dataclasses import replace

import pytest
from django.apps import apps
from django.db import connection

from deploy_ops import history
from deploy_ops.history import Release, last_schema, record_release
from deploy_ops.phases.between import Step, schema_between
from deploy_ops.phases.column_types import takes_all_of
from deploy_ops.phases.compat import Code, compat_findings
from deploy_ops.phases.snapshot import Check, Column, Snapshot, Table, Unique, take_snapshot

NOTE = Column("note", "varchar(50)", False)
ORDER = Table("shop.Order", {"id": Column("id", "bigint", False, "database"), "note": NOTE})


def of(table=ORDER, name="shop_order"):
    return Snapshot({name: table})


def with_column(column, name="note"):
    return replace(ORDER, columns={**ORDER.columns, name: column})


@pytest.mark.parametrize(
    "wider, narrower, takes",
    [
        ("bigint", "integer", True),
        ("integer", "bigint", False),
        ("integer", "smallint", True),
        ("varchar(50)", "varchar(20)", True),
        ("varchar(20)", "varchar(50)", False),
        ("varchar", "varchar(50)", True),
        ("text", "varchar(50)", True),
        ("varchar(50)", "text", False),
        ("numeric(12, 4)", "numeric(8, 2)", True),
        ("numeric(8, 4)", "numeric(8, 2)", False),
        ("numeric(12, 2)", "numeric(12, 4)", False),
        ("numeric", "numeric(8, 2)", True),
        ("numeric(8, 2)", "numeric", False),
        ("jsonb", "text", False),
        ("integer[]", "integer[]", True),
        ("bigint[]", "integer[]", True),
        ("timestamp with time zone", "date", False),
        ("geometry(POINT,4326)", "geometry(POINT,4326)", True),
        ("citext", "text", False),
    ],
)
def test_types(wider, narrower, takes):
    assert takes_all_of(wider, narrower) is takes


def test_snapshot_survives_being_written_down():
    taken = take_snapshot(apps, connection)
    assert taken.tables["deploy_ops_flagversion"].checks
    assert Snapshot.from_json(taken.as_json()) == taken


def test_snapshot_has_what_migrations_make():
    tables = take_snapshot(apps, connection).tables
    assert tables["auth_user_groups"].model == "auth.User_groups"
    row = tables["deploy_ops_contractrow"]
    assert row.columns["id"].default == "database"
    assert row.columns["skipped_because"].python_default == "constant"
    assert ("app", "migration", "path") in [unique.columns for unique in row.uniques]


def test_recorded_schema_is_read_again(settings, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path / "ops")
    assert last_schema("default") is None
    for version, database in (("1.0", "default"), ("1.1", "default"), ("2.0", "archive")):
        record_release(Release(version, "", "", database, None, []), of().as_json())
    version, schema = last_schema("default")
    assert (version, Snapshot.from_json(schema)) == ("1.1", of())
    [file] = (tmp_path / "ops" / history.SCHEMAS).iterdir()  # the same for all three
    file.unlink()
    assert last_schema("default") is None


def test_what_waits_keeps_both():
    gone = replace(ORDER, columns={"id": ORDER.columns["id"]})
    kept = schema_between(of(), [Step(of(), of(gone), waits=True)])
    assert kept.tables["shop_order"].columns["note"].may_be_left_out
    assert schema_between(of(), [Step(of(), of(gone), waits=False)]) == of(gone)
    assert schema_between(of(), [Step(of(), Snapshot(), waits=True)]) == of()
    assert schema_between(of(), [Step(of(), Snapshot(), waits=False)]) == Snapshot()


def test_steps_after_one_that_waits_change_what_they_name_only():
    """Two pull requests: the first one's column stays, the second one's is added."""
    without = replace(ORDER, columns={"id": ORDER.columns["id"]})
    other = replace(without, columns={**without.columns, "km": Column("km", "integer", True)})
    steps = [Step(of(), of(without), waits=True), Step(of(without), of(other), waits=False)]
    assert set(schema_between(of(), steps).tables["shop_order"].columns) == {"id", "note", "km"}


def ids(old, new, between):
    found = compat_findings(Code("1.0", of(old), True), Code("2.0", of(new), False), of(between))
    return [each.id.removeprefix("deploy_ops.") for each in found]


@pytest.mark.parametrize(
    "between, expected",
    [
        (ORDER, []),
        (with_column(Column("km", "integer", False), "km"), ["T007"]),
        (with_column(Column("km", "integer", True), "km"), []),
        (with_column(Column("km", "integer", False, "database"), "km"), []),
        (with_column(replace(NOTE, null=True)), []),
        (with_column(replace(NOTE, type="varchar(20)")), ["T009"]),
        (with_column(replace(NOTE, default="generated")), ["T012"]),
        (replace(ORDER, uniques=(Unique("one", ("note",)),)), ["T010"]),
        (replace(ORDER, uniques=(Unique("one", ("note",), "(AND: ('id', 1))"),)), ["T010"]),
        (replace(ORDER, checks=(Check("few", "(AND: ('id', 1))"),)), ["T011"]),
    ],
)
def test_old_code(between, expected):
    """New code is as the schema in between."""
    assert ids(ORDER, between, between) == expected


def test_unique_that_another_one_implies():
    both = Unique("both", ("id", "note"))
    one = Unique("one", ("note",))
    some = Unique("some", ("note",), "(AND: ('id', 1))")
    assert both.is_implied_by(one) and some.is_implied_by(one)
    assert not one.is_implied_by(both) and not one.is_implied_by(some)
    assert not Unique("lower", (), "Lower(F(note))").is_implied_by(one)


def test_words_and_cure():
    without = replace(ORDER, columns={"id": ORDER.columns["id"]})
    [finding] = compat_findings(
        Code("1.0", of(), True), Code("2.0", of(without), False), of(without)
    )
    assert finding.msg == (
        "Release 1.0, which still runs, reads and writes column shop_order.note, which is not there "
        "after these migrations. Every SELECT and INSERT of shop.Order fails."
    )
    assert finding.hint == (
        "Let it stay until nobody needs it:\n"
        '    Contract(migrations.RemoveField("order", "note")),\n'
        'A field that is renamed keeps its column with `db_column="note"`.'
    )
