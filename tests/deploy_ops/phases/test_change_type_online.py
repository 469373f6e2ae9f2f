"""ChangeTypeOnline ends in the schema of Django's AlterField, forwards, backwards, after any kill."""

import uuid

import pytest
from django.contrib.postgres.fields import ArrayField
from django.core.management import call_command
from django.db import migrations, models
from django.db.models.functions import Lower

from deploy_ops.phases import ChangeTypeOnline
from tests.deploy_ops.phases.bench import APP, PACKAGE, Bench, create, recorded

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
BOTH = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
MONEY = {"max_digits": 10, "decimal_places": 4}
LESS = {"max_digits": 8, "decimal_places": 2}


def trip(field, *others, key=None, options=None, **table):
    given = create("trip", ("km", field), ("note", models.TextField(null=True)), *others, key=key)
    given.options |= (options or {}) | table
    return given


def rows(value, table="shop_trip", column="km"):
    return f'INSERT INTO {table} ("{column}") SELECT {value} FROM generate_series(1, 30) AS n'


EVERYTHING = {
    "indexes": [
        models.Index(fields=["-km", "note"], name="Km, note"),
        models.Index("km", name="far", condition=models.Q(km__gt=7), include=["note"]),
        models.Index(models.F("km") * 2, name="twice", db_tablespace="pg_default"),
    ],
    "constraints": [
        models.CheckConstraint(condition=models.Q(km__lt=1000) | models.Q(note="50%"), name="few"),
        models.UniqueConstraint(fields=["km", "note"], name="one", nulls_distinct=False),
        models.UniqueConstraint(fields=["km"], name="late", deferrable=models.Deferrable.DEFERRED),
        models.UniqueConstraint(fields=["note"], condition=models.Q(km=3), name="some"),
    ],
    "unique_together": {("note", "km")},
}
# name: (model before, SQL before, the field after)
CASES = {
    "bigger": (
        trip(models.IntegerField(null=True)),
        [rows("n")],
        models.BigIntegerField(null=True),
    ),
    "not_null": (
        trip(models.IntegerField(unique=True)),
        [rows("n"), 'CREATE TABLE "deploy_ops" (id int)'],
        models.BigIntegerField(unique=True),
    ),
    "everything": (
        trip(models.IntegerField(db_index=True), options=EVERYTHING),
        [rows("n")],
        models.BigIntegerField(db_index=True),
    ),
    "check_of_its_kind": (
        trip(models.PositiveIntegerField(db_default=3, db_comment="it's 50%")),
        [rows("n"), "ALTER TABLE shop_trip ALTER km SET STATISTICS 7"],
        models.PositiveBigIntegerField(db_default=3, db_comment="it's 50%"),
    ),
    "odd_names": (
        trip(
            models.IntegerField(db_column="Km %"),
            db_table="Trips.of X",
            options={"indexes": [models.Index(fields=["km"], name="Odd % Name")]},
        ),
        [rows("n", '"Trips.of X"', "Km %")],
        models.BigIntegerField(db_column="Km %"),
    ),
    "smaller": (trip(models.BigIntegerField()), [rows("n")], models.IntegerField()),
    "digits": (
        trip(models.DecimalField(**LESS, db_index=True, db_default=7)),
        [rows("n / 7.0")],
        models.DecimalField(**MONEY, db_index=True, db_default=7),
    ),
    "fewer_digits": (
        trip(models.DecimalField(**MONEY, unique=True)),
        [rows("n / 7.0")],
        models.DecimalField(**LESS, unique=True),
    ),
    "shorter": (
        trip(models.CharField(max_length=20, db_index=True)),
        [rows("'p' || n")],
        models.CharField(max_length=9, db_index=True),
    ),
    "text_with_an_index": (
        trip(models.CharField(max_length=20, db_index=True)),
        [rows("'p' || n")],
        models.TextField(db_index=True),
    ),
    "unique_text_that_gets_a_limit": (
        trip(models.TextField(unique=True, db_default="x")),
        [rows("'p' || n")],
        models.CharField(max_length=9, unique=True, db_default="x"),
    ),
    "text_in_a_check": (
        trip(
            models.CharField(max_length=20),
            options={
                "constraints": [models.CheckConstraint(condition=~models.Q(km="x"), name="some")]
            },
        ),
        [rows("'p' || n")],
        models.TextField(),
    ),
    "number_from_text": (
        trip(models.CharField(max_length=20, unique=True)),
        [rows("n")],
        models.IntegerField(unique=True),
    ),
    "number_in_another_column": (
        trip(models.CharField(max_length=20, null=True, db_index=True)),
        [rows("n")],
        models.IntegerField(null=True, db_index=True, db_column="Km new"),
    ),
    "text_from_number": (
        trip(models.IntegerField(), options={"unique_together": {("note", "km")}}),
        [rows("n")],
        models.CharField(max_length=5),
    ),
    "day_from_time": (
        trip(models.DateTimeField(null=True)),
        [rows("now()")],
        models.DateField(null=True),
    ),
    "order": (
        trip(models.CharField(max_length=20, unique=True)),
        [rows("'p' || n")],
        models.CharField(max_length=20, unique=True, db_collation="C"),
    ),
    "lists": (
        trip(ArrayField(models.CharField(max_length=5), null=True)),
        [rows("ARRAY['p' || n]")],
        ArrayField(models.CharField(max_length=9), null=True),
    ),
    "an_expression": (
        trip(
            models.CharField(max_length=20),
            options={"indexes": [models.Index(Lower("km"), name="low")]},
        ),
        [rows("'p' || n")],
        models.CharField(max_length=19),
    ),
    "uuid_key": (
        trip(models.IntegerField(null=True), key=models.UUIDField(primary_key=True)),
        ["INSERT INTO shop_trip SELECT gen_random_uuid(), n FROM generate_series(1, 30) AS n"],
        models.BigIntegerField(null=True),
    ),
    "composite_key": (
        migrations.CreateModel(
            "trip",
            [
                ("day", models.IntegerField()),
                ("slot", models.IntegerField()),
                ("km", models.IntegerField(null=True)),
                ("pk", models.CompositePrimaryKey("day", "slot")),
            ],
        ),
        ["INSERT INTO shop_trip SELECT n % 3, n, n FROM generate_series(1, 50) AS n"],
        models.BigIntegerField(null=True),
    ),
}
DIFFERS_ON_18 = ["not_null", "everything", "check_of_its_kind", "number_from_text"]
KILLED = ["everything", "unique_text_that_gets_a_limit", "check_of_its_kind"]
DATABASE_AND_CASE = [
    *(("pg15", case) for case in CASES),
    *(("pg18", case) for case in DIFFERS_ON_18),
]
VALUES = "SELECT * FROM {} ORDER BY 1, 2"


@pytest.fixture
def alias(django_alias, settings):
    settings.MIGRATION_MODULES = {APP: PACKAGE}
    call_command("migrate", "deploy_ops", database=django_alias, verbosity=0)
    return django_alias


def values(bench):
    [(table,)] = bench.sql(
        "SELECT quote_ident(tablename) FROM pg_tables"
        f" WHERE schemaname = '{bench.schema}' AND tablename ILIKE '%trip%'"
    )
    names = bench.sql(
        f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass"
        " AND attnum > 0 AND NOT attisdropped ORDER BY 1"
    )
    listed = ", ".join('"%s"' % name for (name,) in names)
    with bench.connection.cursor() as cursor:
        cursor.execute(f"SELECT {listed} FROM {table} ORDER BY {listed}", None)
        return cursor.fetchall()


def wanted(alias, case):
    """What there is before Django's own operation, after it, and after it was reversed."""
    given, before, field = CASES[case]
    bench = Bench(alias, given=[given], schema="plain", before=before)
    at_first = bench.catalog()
    plain = migrations.AlterField("trip", "km", field)
    bench.try_out(plain, is_atomic=True)
    after = bench.catalog(), values(bench)
    bench.reverse(plain, is_atomic=True)
    return at_first, after, bench.catalog()


@pytest.mark.parametrize(("database", "case"), DATABASE_AND_CASE, indirect=["database"])
def test_ends_in_the_schema_of_djangos_own(alias, case):
    at_first, after, reversed_ = wanted(alias, case)
    given, before, field = CASES[case]
    operation = ChangeTypeOnline("trip", "km", field)
    bench = Bench(alias, given=[given], before=before)
    assert bench.catalog() == at_first
    bench.try_out(operation)
    assert (bench.catalog(), values(bench)) == after
    with recorded(bench.connection) as statements:
        bench.try_out(operation)
    assert bench.catalog() == after[0]
    assert not [each for each in statements if "CONCURRENTLY" in each or "UPDATE" in each]
    bench.reverse(operation)
    assert bench.catalog() == reversed_
