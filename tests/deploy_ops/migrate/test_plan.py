"""What undoing a migration would cost, and what it touches: decided without a database."""

import pytest
from django.db import migrations, models
from django.db.migrations.state import ModelState, ProjectState
from django.db.models.fields import NOT_PROVIDED

from deploy_ops.migrate.plan import (
    CHEAP_BYTES,
    Index,
    Plan,
    Step,
    effects_after,
    ends_transaction,
    make_plan,
)
from deploy_ops.migrate.reversal import Reversal, reversal_of
from deploy_ops.phases import AddFieldOnline


def noop(apps, schema_editor):
    """Does nothing, but is not RunPython.noop."""


def trip_state() -> ProjectState:
    state = ProjectState()
    state.add_model(ModelState("auth", "User", [("id", models.AutoField(primary_key=True))]))
    state.add_model(
        ModelState(
            "trips",
            "Trip",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("purpose", models.CharField(max_length=100, null=True)),
                ("km", models.DecimalField(max_digits=8, decimal_places=2)),
                ("litres", models.DecimalField()),  # from Django 6.1 on: any number of digits
                ("tags", Tags(size=5)),
                ("person", models.ForeignKey("auth.User", models.CASCADE)),
            ],
        )
    )
    return state


def alter(name: str, field: models.Field) -> migrations.AlterField:
    return migrations.AlterField("trip", name, field)


class Theirs(migrations.AddField):
    """Somebody's own operation."""


class Tags(models.Field):
    """Somebody's own field."""

    def __init__(self, size=None, **options):
        self.size = size
        super().__init__(**options)

    def deconstruct(self):
        """Add the argument that only this kind of field has."""
        name, path, args, options = super().deconstruct()
        return name, path, args, options | {"size": self.size}


class UnknownOperation(migrations.operations.base.Operation):
    """Somebody's own operation."""

    def state_forwards(self, app_label, state):
        """Change nothing."""


LOSSLESS = {
    "added column": migrations.AddField("trip", "note", models.TextField(null=True)),
    "added table": migrations.CreateModel("Receipt", [("id", models.AutoField(primary_key=True))]),
    "added index": migrations.AddIndex("trip", models.Index(fields=["km"], name="km")),
    "wider text": alter("purpose", models.CharField(max_length=200, null=True)),
    "wider number": alter("km", models.DecimalField(max_digits=12, decimal_places=2)),
    "number without limit": alter("km", models.DecimalField()),
    "renamed column": migrations.RenameField("trip", "km", "kilometres"),
    "python that does nothing": migrations.RunPython(
        migrations.RunPython.noop, migrations.RunPython.noop
    ),
}
UNPROVEN = {
    "python with its reverse": migrations.RunPython(noop, noop),
    "python whose reverse gives nothing back": migrations.RunPython(
        noop, migrations.RunPython.noop
    ),
    "sql with its reverse": migrations.RunSQL("SELECT 1", "SELECT 2"),
}
LOSSY = {
    "removed column": migrations.RemoveField("trip", "purpose"),
    "removed table": migrations.DeleteModel("Trip"),
    "removed order": migrations.AlterOrderWithRespectTo("trip", None),
    "narrower text": alter("purpose", models.CharField(max_length=10, null=True)),
    "fewer digits before the point": alter(
        "km", models.DecimalField(max_digits=8, decimal_places=3)
    ),
    "fewer decimals": alter("km", models.DecimalField(max_digits=8, decimal_places=1)),
    "limit of a number": alter("litres", models.DecimalField(max_digits=8, decimal_places=2)),
    "other type": alter("km", models.IntegerField()),
    "null filled in": alter("purpose", models.CharField(max_length=100, default="-")),
    "other target": alter("person", models.ForeignKey("trips.Trip", models.CASCADE)),
    "other argument of a kind that nobody knows": alter("tags", Tags(size=3)),
    "sql whose reverse gives nothing back": migrations.RunSQL("DELETE FROM t", ""),
    "unknown operation": UnknownOperation(),
}
IRREVERSIBLE = {
    "python without reverse": migrations.RunPython(noop),
    "sql without reverse": migrations.RunSQL("DELETE FROM t"),
}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        pytest.param(operation, expected, id=name)
        for expected, operations in (
            (Reversal.LOSSLESS, LOSSLESS),
            (Reversal.UNPROVEN, UNPROVEN),
            (Reversal.LOSSY, LOSSY),
            (Reversal.IRREVERSIBLE, IRREVERSIBLE),
        )
        for name, operation in operations.items()
    ],
)
def test_reversal_of_each_operation(operation, expected):
    assert reversal_of(operation, "trips", trip_state()) is expected


def plan_of(*operations, atomic=True, backwards=False) -> Plan:
    migration = migrations.Migration("0002", "trips")
    migration.operations = list(operations)
    migration.atomic = atomic
    return make_plan([(migration, backwards)], trip_state())


def test_a_migration_costs_what_its_worst_operation_costs():
    plan = plan_of(
        LOSSLESS["added column"], IRREVERSIBLE["python without reverse"], LOSSY["removed column"]
    )
    assert plan.steps[0].reversal is Reversal.IRREVERSIBLE


def test_database_operations_behind_a_state_only_one_count():
    separate = migrations.SeparateDatabaseAndState(
        database_operations=[LOSSY["removed column"]], state_operations=[]
    )
    assert plan_of(separate).steps[0].reversal is Reversal.LOSSY


def test_removing_a_foreign_key_names_the_parent_table_that_is_locked_too():
    plan = plan_of(migrations.RemoveField("trip", "person"))
    assert plan.steps[0].tables == ("trips_trip", "auth_user")


def test_operations_see_the_state_that_those_before_them_left():
    plan = plan_of(
        migrations.AddField("trip", "code", models.CharField(max_length=5)),
        alter("code", models.CharField(max_length=3)),
    )
    assert plan.steps[0].reversal is Reversal.LOSSY


def test_planning_leaves_the_given_state_alone():
    state = trip_state()
    migration = migrations.Migration("0002", "trips")
    migration.operations = [LOSSY["removed column"]]
    make_plan([(migration, False)], state)
    assert "purpose" in state.models["trips", "trip"].fields


@pytest.mark.parametrize(
    ("options", "fits"), [({}, True), ({"atomic": False}, False), ({"backwards": True}, False)]
)
def test_what_fits_one_transaction(options, fits):
    assert plan_of(LOSSLESS["added column"], **options).fits_one_transaction is fits


def test_steps_in_a_row_share_a_transaction_where_that_is_cheap():
    cheap, code = plan_of(LOSSLESS["added column"]), plan_of(UNPROVEN["sql with its reverse"])
    alone = plan_of(LOSSLESS["added column"], atomic=False)
    back = plan_of(LOSSLESS["added column"], backwards=True)
    plans = (cheap, cheap, code, code, cheap, alone, cheap, cheap, cheap, back, back)
    steps = tuple(step for plan in plans for step in plan.steps)
    sizes = [len(group) for group in Plan(steps).groups({"trips_trip": CHEAP_BYTES})]
    assert sizes == [2, 1, 1, 1, 1, 3, 1, 1]
    assert [len(group) for group in Plan(steps).groups({"trips_trip": CHEAP_BYTES + 1})] == [1] * 11
    assert [step for group in Plan(steps).groups({}) for step in group] == list(steps)


def test_a_step_reads_as_app_and_name():
    step = plan_of().steps[0]
    assert isinstance(step, Step)
    assert str(step) == "trips.0002"


def test_database_operations_start_from_a_state_of_their_own():
    """Both lists remove the same field, as Django allows; today's KeyError also stopped --plan."""
    remove = migrations.RemoveField("trip", "purpose")
    both = migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.AlterField("trip", "purpose", models.CharField(max_length=200, null=True)),
            migrations.RemoveField("trip", "purpose"),
        ],
        state_operations=[remove],
    )
    plan = plan_of(both, migrations.DeleteModel("Trip"))
    assert plan.steps[0].reversal is Reversal.LOSSY


@pytest.mark.parametrize(
    ("sql", "ends"),
    [
        ("COMMIT", True),
        ("BEGIN; UPDATE t SET x = 1; COMMIT;", True),
        ("/* why */ rollback;", True),
        ("PREPARE TRANSACTION 'x'", True),
        ("ROLLBACK TO SAVEPOINT a", False),
        ("ROLLBACK WORK TO a", False),
        ("CREATE FUNCTION f() RETURNS int AS $$ BEGIN x; END; $$ LANGUAGE plpgsql", False),
        ("CREATE TRIGGER t AFTER INSERT ON x BEGIN UPDATE y SET z = 1; END;", False),
        ("INSERT INTO t VALUES ('; commit')", False),
        ("-- COMMIT\nSELECT 1", False),
    ],
)
def test_sql_that_ends_its_transaction(sql, ends):
    assert ends_transaction(sql) is ends
    assert plan_of(migrations.RunSQL(sql)).steps[0].is_atomic is not ends


def test_effects_follow_the_names_that_later_steps_give():
    added = migrations.AddField("trip", "note", models.TextField(null=True))
    renamed = migrations.RenameField("trip", "note", "remark")
    moved = migrations.AlterModelTable("trip", "reise belege")
    [effect] = effects_after(plan_of(added, renamed, moved).steps)
    assert (effect.table, effect.column) == ("reise belege", "remark")


@pytest.mark.parametrize("default", [1, NOT_PROVIDED], ids=["default", "none"])
def test_a_new_foreign_key_may_have_a_default(default):
    field = models.ForeignKey("auth.User", models.CASCADE, default=default)
    [effect] = effects_after(plan_of(migrations.AddField("trip", "driver", field)).steps)
    assert effect.column == "driver_id"
    assert effect.is_default_known is (default is NOT_PROVIDED)


def test_a_new_table_takes_its_columns_with_it():
    plan = plan_of(
        migrations.CreateModel("Receipt", [("id", models.AutoField(primary_key=True))]),
        migrations.AddField("receipt", "cents", models.IntegerField(null=True)),
        migrations.AddField("receipt", "trips", models.ManyToManyField("trips.Trip")),
    )
    found = [(type(each).__name__, each.table) for each in effects_after(plan.steps)]
    assert found == [("NewTable", "trips_receipt"), ("NewTable", "trips_receipt_trips")]


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (
            'CREATE UNIQUE INDEX CONCURRENTLY "Beleg ä" ON "Reise Belege" (a)',
            ("Beleg ä", "Reise Belege"),
        ),
        ("create index concurrently Km ON trips_trip USING btree (km);", ("km", "trips_trip")),
        ("CREATE INDEX CONCURRENTLY km ON trips_trip (km); DELETE FROM trips_trip", None),
        ("CREATE INDEX km ON trips_trip (km)", None),
    ],
)
def test_sql_that_only_builds_an_index(sql, index):
    [step] = plan_of(migrations.RunSQL(sql), atomic=False).steps
    assert step.indexes == (index and (Index(*index, True),))


@pytest.mark.parametrize(
    ("operation", "runs_code"),
    [
        (migrations.AddField("trip", "note", models.TextField(null=True)), False),
        (AddFieldOnline("trip", "note", models.TextField(null=True)), False),
        (Theirs("trip", "note", models.TextField(null=True)), True),
        (migrations.RunPython(noop), True),
        (migrations.SeparateDatabaseAndState([migrations.RunSQL("SELECT 1")]), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_may_do_anything_counts_as_code(operation, runs_code):
    """As an operation of another package does, which nobody here has read."""
    migration = migrations.Migration("0002_change", "trips")
    migration.operations = [operation]
    [step] = make_plan([(migration, False)], trip_state()).steps
    assert step.runs_code is runs_code
