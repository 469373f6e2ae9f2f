"""Every operation ends in the schema of Django's own, forwards, backwards and after any kill."""

import uuid

import pytest
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.core.management import call_command
from django.db import migrations, models
from django.db.models.functions import Lower, Now

from deploy_ops.phases import (
    AddFieldOnline,
    AddIndexOnline,
    EnforceCheck,
    EnforceForeignKey,
    EnforceNotNull,
    EnforceUnique,
    IndexFieldOnline,
    RemoveIndexOnline,
)
from tests.deploy_ops.phases.bench import APP, PACKAGE, Bench, create, recorded

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
BOTH = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
LONG = "a_very_long_name_of_a_table_that_nobody_would_like_to_type_once_more"[:60]


def number(**kwargs):
    return models.IntegerField(**kwargs)


def text(**kwargs):
    return models.CharField(max_length=20, **kwargs)


def car(**kwargs):
    return models.ForeignKey("shop.car", models.CASCADE, **kwargs)


TRIP = create("trip", ("km", number(null=True)), ("purpose", text(null=True)))
CARS = [create("car"), create("trip", ("car", car(db_constraint=False, db_index=False)))]
ROWS = "INSERT INTO shop_trip (km, purpose) SELECT n, 'p' || n FROM generate_series(1, 30) AS n"
NULLS = "INSERT INTO shop_trip (km) SELECT NULL FROM generate_series(1, 30)"
INDEX = models.Index(fields=["km"], name="trip_km")
UPPER = "Trips.of X"

# name: (operations before, SQL before, the operation, Django's own)
CASES = {
    "index": ([TRIP], [ROWS], AddIndexOnline("trip", INDEX), migrations.AddIndex("trip", INDEX)),
    "index_of_an_expression": (
        [TRIP],
        [ROWS],
        AddIndexOnline("trip", models.Index(Lower("purpose"), name="low")),
        migrations.AddIndex("trip", models.Index(Lower("purpose"), name="low")),
    ),
    "index_with_everything": (
        [TRIP],
        [ROWS],
        *(
            operation(
                "trip",
                models.Index(
                    fields=["-km"],
                    include=["purpose"],
                    condition=models.Q(purpose__contains="50%"),
                    db_tablespace="pg_default",
                    name="all",
                ),
            )
            for operation in (AddIndexOnline, migrations.AddIndex)
        ),
    ),
    "index_of_a_field": (
        [TRIP],
        [ROWS],
        *(
            operation("trip", "purpose", text(null=True, db_index=True))
            for operation in (IndexFieldOnline, migrations.AlterField)
        ),
    ),
    "index_brin": (
        [TRIP],
        [ROWS],
        *(
            operation("trip", BrinIndex(fields=["km"], pages_per_range=4, name="brin"))
            for operation in (AddIndexOnline, migrations.AddIndex)
        ),
    ),
    "index_gin": (
        [create("trip", ("data", models.JSONField(default=dict)))],
        [],
        *(
            operation("trip", GinIndex(fields=["data"], name="gin", fastupdate=False))
            for operation in (AddIndexOnline, migrations.AddIndex)
        ),
    ),
    "no_index": (
        [TRIP, migrations.AddIndex("trip", INDEX)],
        [ROWS],
        RemoveIndexOnline("trip", "trip_km"),
        migrations.RemoveIndex("trip", "trip_km"),
    ),
    "check": (
        [TRIP],
        [ROWS],
        *(
            operation(
                "trip",
                models.CheckConstraint(
                    condition=models.Q(km__gt=0) & ~models.Q(purpose="50%"), name="Positive km"
                ),
            )
            for operation in (EnforceCheck, migrations.AddConstraint)
        ),
    ),
    "unique_constraint": (
        [TRIP],
        [ROWS],
        *(
            operation("trip", models.UniqueConstraint(fields=["km", "purpose"], name="once"))
            for operation in (EnforceUnique, migrations.AddConstraint)
        ),
    ),
    "unique_deferrable": (
        [TRIP],
        [ROWS],
        *(
            operation(
                "trip",
                models.UniqueConstraint(
                    fields=["km"], name="late", deferrable=models.Deferrable.DEFERRED
                ),
            )
            for operation in (EnforceUnique, migrations.AddConstraint)
        ),
    ),
    "unique_nulls_not_distinct": (
        [TRIP],
        [ROWS],
        *(
            operation(
                "trip", models.UniqueConstraint(fields=["km"], name="one", nulls_distinct=False)
            )
            for operation in (EnforceUnique, migrations.AddConstraint)
        ),
    ),
    "unique_condition": (
        [TRIP],
        [ROWS],
        *(
            operation(
                "trip",
                models.UniqueConstraint(
                    fields=["km"], condition=models.Q(purpose="x"), include=["id"], name="some"
                ),
            )
            for operation in (EnforceUnique, migrations.AddConstraint)
        ),
    ),
    "unique_expression": (
        [TRIP],
        [ROWS],
        *(
            operation("trip", models.UniqueConstraint(Lower("purpose"), name="lowered"))
            for operation in (EnforceUnique, migrations.AddConstraint)
        ),
    ),
    "unique_together": (
        [TRIP, migrations.AlterUniqueTogether("trip", {("id", "km")})],
        [ROWS],
        EnforceUnique("trip", ["km", "purpose"]),
        migrations.AlterUniqueTogether("trip", {("id", "km"), ("km", "purpose")}),
    ),
    "unique_field": (
        [TRIP],
        [ROWS],
        EnforceUnique("trip", "purpose", text(null=True, unique=True)),
        migrations.AlterField("trip", "purpose", text(null=True, unique=True)),
    ),
    "unique_field_that_had_an_index": (
        [create("trip", ("km", number()), ("purpose", text(db_index=True)))],
        [ROWS],
        EnforceUnique("trip", "purpose", text(unique=True)),
        migrations.AlterField("trip", "purpose", text(unique=True)),
    ),
    "foreign_key": (
        CARS,
        ["INSERT INTO shop_car VALUES (1)", "INSERT INTO shop_trip (car_id) VALUES (1)"],
        EnforceForeignKey("trip", "car", car()),
        migrations.AlterField("trip", "car", car()),
    ),
    "foreign_key_to_itself": (
        [create("trip", ("back", models.ForeignKey("self", models.CASCADE, db_constraint=False)))],
        [],
        EnforceForeignKey("trip", "back", models.ForeignKey("self", models.CASCADE)),
        migrations.AlterField("trip", "back", models.ForeignKey("self", models.CASCADE)),
    ),
    "not_null_with_default": (
        [TRIP],
        [ROWS, NULLS],
        EnforceNotNull("trip", "purpose", text(default="50%'s")),
        migrations.AlterField("trip", "purpose", text(default="50%'s")),
    ),
    "not_null_with_db_default": (
        [TRIP],
        [ROWS, NULLS],
        EnforceNotNull("trip", "km", number(db_default=7)),
        migrations.AlterField("trip", "km", number(db_default=7)),
    ),
    "not_null_without_anything": (
        [TRIP],
        [ROWS],
        EnforceNotNull("trip", "km", number()),
        migrations.AlterField("trip", "km", number()),
    ),
    "not_null_once": (
        [TRIP],
        [ROWS, NULLS],
        EnforceNotNull("trip", "km", number(default=3), preserve_default=False),
        migrations.AlterField("trip", "km", number(default=3), preserve_default=False),
    ),
    "field": (
        [TRIP],
        [ROWS],
        AddFieldOnline("trip", "note", text(null=True, db_comment="half of it's")),
        migrations.AddField("trip", "note", text(null=True, db_comment="half of it's")),
    ),
    "field_with_default": (
        [TRIP],
        [ROWS],
        AddFieldOnline("trip", "note", text(default="50%")),
        migrations.AddField("trip", "note", text(default="50%")),
    ),
    "field_with_db_default": (
        [TRIP],
        [ROWS],
        AddFieldOnline("trip", "at", models.DateTimeField(db_default=Now())),
        migrations.AddField("trip", "at", models.DateTimeField(db_default=Now())),
    ),
    "field_blank": (
        [TRIP],
        [ROWS],
        AddFieldOnline("trip", "note", text(blank=True, db_index=True)),
        migrations.AddField("trip", "note", text(blank=True, db_index=True)),
    ),
    "field_now": (
        [TRIP],
        [ROWS],
        AddFieldOnline("trip", "at", models.DateTimeField(auto_now=True)),
        migrations.AddField("trip", "at", models.DateTimeField(auto_now=True)),
    ),
    "field_with_check": (
        [TRIP],
        [ROWS],
        AddFieldOnline("trip", "seats", models.PositiveIntegerField(null=True)),
        migrations.AddField("trip", "seats", models.PositiveIntegerField(null=True)),
    ),
    "field_unique": (
        [TRIP],
        [ROWS],
        AddFieldOnline("trip", "code", text(null=True, unique=True)),
        migrations.AddField("trip", "code", text(null=True, unique=True)),
    ),
    "field_unique_in_a_tablespace": (
        [TRIP],
        [ROWS],
        AddFieldOnline("trip", "code", text(null=True, unique=True, db_tablespace="pg_default")),
        migrations.AddField(
            "trip", "code", text(null=True, unique=True, db_tablespace="pg_default")
        ),
    ),
    "field_whose_name_is_cut": (
        [create("trip", db_table=LONG)],
        [],
        AddFieldOnline("trip", "c" * 30, models.PositiveIntegerField(null=True, unique=True)),
        migrations.AddField("trip", "c" * 30, models.PositiveIntegerField(null=True, unique=True)),
    ),
    "field_unique_beside_a_key": (
        [create("trip")],
        ["CREATE TABLE shop_trip_code_key (id int)"],
        AddFieldOnline("trip", "code", number(null=True, unique=True)),
        migrations.AddField("trip", "code", number(null=True, unique=True)),
    ),
    "field_foreign_key": (
        [create("car"), TRIP],
        [ROWS],
        AddFieldOnline("trip", "car", car(null=True)),
        migrations.AddField("trip", "car", car(null=True)),
    ),
    "field_one_to_one": (
        [create("car"), TRIP],
        [ROWS],
        AddFieldOnline("trip", "car", models.OneToOneField("car", models.CASCADE, null=True)),
        migrations.AddField("trip", "car", models.OneToOneField("car", models.CASCADE, null=True)),
    ),
    "field_many_to_many": (
        [create("car"), TRIP],
        [ROWS],
        AddFieldOnline("trip", "cars", models.ManyToManyField("shop.car")),
        migrations.AddField("trip", "cars", models.ManyToManyField("shop.car")),
    ),
    "odd_names": (
        [create("trip", ("km", number(null=True, db_column="Km %")), db_table=UPPER)],
        [],
        AddIndexOnline("trip", models.Index(fields=["km"], name="Odd Name")),
        migrations.AddIndex("trip", models.Index(fields=["km"], name="Odd Name")),
    ),
    "odd_names_not_null": (
        [create("trip", ("km", number(null=True, db_column="Km new")), db_table=UPPER)],
        [],
        EnforceNotNull("trip", "km", number(db_column="Km new", default=1)),
        migrations.AlterField("trip", "km", number(db_column="Km new", default=1)),
    ),
    "uuid_key": (
        [
            create(
                "trip",
                ("km", number(null=True)),
                key=models.UUIDField(primary_key=True, default=uuid.uuid4),
            )
        ],
        ["INSERT INTO shop_trip SELECT gen_random_uuid() FROM generate_series(1, 50)"],
        EnforceNotNull("trip", "km", number(default=1)),
        migrations.AlterField("trip", "km", number(default=1)),
    ),
    "composite_key": (
        [
            migrations.CreateModel(
                "trip",
                [
                    ("day", number()),
                    ("slot", number()),
                    ("km", number(null=True)),
                    ("pk", models.CompositePrimaryKey("day", "slot")),
                ],
            )
        ],
        ["INSERT INTO shop_trip SELECT n % 3, n FROM generate_series(1, 50) AS n"],
        EnforceNotNull("trip", "km", number(default=1)),
        migrations.AlterField("trip", "km", number(default=1)),
    ),
}
KILLED = [
    "index",
    "unique_field_that_had_an_index",
    "unique_together",
    "check",
    "foreign_key",
    "not_null_with_db_default",
    "field_foreign_key",
    "field_unique",
    "field_many_to_many",
    "field_with_check",
    "field_unique_beside_a_key",
]


@pytest.fixture
def alias(django_alias, settings):
    settings.MIGRATION_MODULES = {APP: PACKAGE}
    return django_alias


def prepared(alias, case):
    """The tables of deploy_ops, which keep the progress of a backfill."""
    if isinstance(CASES[case][2], EnforceNotNull):
        call_command("migrate", "deploy_ops", database=alias, verbosity=0)


def wanted(alias, case):
    """The catalog before Django's own operation, after it, and after it was reversed."""
    prepared(alias, case)
    given, before, _, plain = CASES[case]
    bench = Bench(alias, given=given, schema="plain", before=before)
    at_first = bench.catalog()
    bench.try_out(plain, is_atomic=True)
    after = bench.catalog()
    bench.reverse(plain, is_atomic=True)
    return at_first, after, bench.catalog()


@BOTH
@pytest.mark.parametrize("case", CASES)
def test_ends_in_the_schema_of_djangos_own(alias, case):
    at_first, after, reversed_ = wanted(alias, case)
    given, before, operation, _ = CASES[case]
    bench = Bench(alias, given=given, before=before)
    assert bench.catalog() == at_first
    bench.try_out(operation)
    assert bench.catalog() == after
    bench.reverse(operation)
    assert bench.catalog() == reversed_
    bench.try_out(operation)
    assert bench.catalog() == after
    with recorded(bench.connection) as statements:
        bench.try_out(operation)
    assert bench.catalog() == after
    assert not [each for each in statements if "CONCURRENTLY" in each or "VALIDATE" in each]


@PG15
@pytest.mark.parametrize("case", KILLED)
def test_goes_on_after_a_kill_at_any_statement(alias, case):
    _, after, reversed_ = wanted(alias, case)
    given, before, operation, _ = CASES[case]
    number_of_kills = 0
    while True:
        bench = Bench(alias, given=given, before=before)
        if not bench.killed_after(number_of_kills + 1, lambda: bench.try_out(operation)):
            break
        number_of_kills += 1
        bench.try_out(operation)
        assert bench.catalog() == after
    assert number_of_kills
    for kill in range(1, 20):
        bench = Bench(alias, given=given, before=before)
        bench.try_out(operation)
        if not bench.killed_after(kill, lambda: bench.reverse(operation)):
            break
        bench.reverse(operation)
        assert bench.catalog() == reversed_


@PG15
@pytest.mark.parametrize("case", CASES)
def test_is_djangos_own_in_a_new_app(alias, case):
    _, after, reversed_ = wanted(alias, case)
    given, before, operation, _ = CASES[case]
    bench = Bench(alias, given=given, before=before, is_new=True)
    bench.try_out(operation, is_atomic=True)
    assert bench.catalog() == after
    bench.reverse(operation, is_atomic=True)
    assert bench.catalog() == reversed_
