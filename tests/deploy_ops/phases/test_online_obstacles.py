"""Online operations with something in their way: rows, locks, builds, transactions, old code."""

import threading
import time
import uuid

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.indexes import GinIndex
from django.core.management import call_command
from django.db import migrations, models
from django.db.migrations.writer import MigrationWriter, OperationWriter
from django.db.models.functions import Now

from deploy_ops.errors import NeedsNoTransaction, NotOnline, RowsInTheWay
from deploy_ops.phases import (
    AddFieldOnline,
    AddIndexOnline,
    EnforceCheck,
    EnforceForeignKey,
    EnforceNotNull,
    EnforceUnique,
    RemoveIndexOnline,
)
from tests.deploy_ops.phases.bench import APP, PACKAGE, Bench, create

pytestmark = pytest.mark.parametrize("database", ["pg15"], indirect=True)

TRIP = create(
    "trip",
    ("km", models.IntegerField(null=True)),
    ("purpose", models.CharField(max_length=20, null=True)),
    ("code", models.UUIDField(null=True)),
)
CAR = create("car")
LOOSE = ("car", models.ForeignKey("shop.car", models.CASCADE, db_constraint=False))
INDEX = models.Index(fields=["km"], name="trip_km")
ONCE = models.UniqueConstraint(fields=["km", "purpose"], name="once")
FAR = models.CheckConstraint(condition=models.Q(km__gt=0), name="far")


@pytest.fixture
def bench(django_alias, settings):
    settings.MIGRATION_MODULES = {APP: PACKAGE}
    return lambda *given, before=(), **kwargs: Bench(
        django_alias, given=given or (TRIP,), before=before, **kwargs
    )


@pytest.fixture
def backfills(django_alias):
    call_command("migrate", "deploy_ops", database=django_alias, verbosity=0)


class TestRows:
    def test_duplicates_are_named_and_no_index_is_left_that_rejects_others(self, bench):
        trips = bench(
            before=["INSERT INTO shop_trip (km, purpose) VALUES (1, 'a'), (2, 'b'), (1, 'a')"]
        )
        before = trips.catalog()
        with pytest.raises(RowsInTheWay) as raised:
            trips.try_out(EnforceUnique("trip", ONCE))
        assert str(raised.value) == (
            "Rows of shop_trip have duplicate values, which once forbids: Key (km, purpose)=(1, a) is "
            "duplicated. It is not enforced now: its unfinished index, which already rejected duplicates, "
            "was dropped again. Correct the rows, and migrate again."
        )
        assert trips.catalog() == before
        trips.sql("INSERT INTO shop_trip (km, purpose) VALUES (2, 'b')")

    def test_a_row_that_breaks_a_check_is_named(self, bench):
        trips = bench(before=["INSERT INTO shop_trip (km) VALUES (5), (-1)"])
        before = trips.catalog()
        with pytest.raises(RowsInTheWay) as raised:
            trips.try_out(EnforceCheck("trip", FAR))
        assert str(raised.value) == (
            "Rows of shop_trip break far: id = 2. It is not enforced now: the constraint, which was "
            "to reject such rows, was dropped again. Correct the rows, and migrate again."
        )
        assert trips.catalog() == before

    def test_a_row_that_points_nowhere_is_named(self, bench):
        trips = bench(CAR, create("trip", LOOSE), before=["INSERT INTO shop_trip VALUES (1, 99)"])
        before = trips.catalog()
        key = models.ForeignKey("shop.car", models.CASCADE)
        with pytest.raises(RowsInTheWay, match=r"Key \(car_id\)=\(99\) is not present in table"):
            trips.try_out(EnforceForeignKey("trip", "car", key))
        assert trips.catalog() == before

    def test_a_row_without_a_value_is_named_where_nothing_fills_it(self, bench):
        trips = bench(before=["INSERT INTO shop_trip (km) VALUES (5), (NULL)"])
        before = trips.catalog()
        with pytest.raises(RowsInTheWay, match=r"Rows of shop_trip break .*: id = 2\. "):
            trips.try_out(EnforceNotNull("trip", "km", models.IntegerField()))
        assert trips.catalog() == before
        trips.sql("INSERT INTO shop_trip (km) VALUES (NULL)")


class TestValues:
    def test_fills_from_an_expression_of_other_columns(self, bench, backfills):
        trips = bench(
            before=["INSERT INTO shop_trip (km) SELECT n * 2 FROM generate_series(1, 2500) AS n"]
        )
        trips.sql("DELETE FROM shop_trip WHERE id % 7 = 0")
        text = models.CharField(max_length=20)
        fill = models.functions.Concat(
            models.Value("100% of "), models.functions.Cast("km", models.CharField())
        )
        trips.try_out(EnforceNotNull("trip", "purpose", text, fill=fill))
        assert trips.sql("SELECT count(*) FROM shop_trip WHERE purpose = '100% of ' || km") == [
            (2500 - 357,)
        ]

    def test_each_row_gets_a_value_of_its_own(self, bench, backfills):
        trips = bench(before=["INSERT INTO shop_trip (km) SELECT generate_series(1, 20)"])
        trips.try_out(EnforceNotNull("trip", "code", models.UUIDField(), fill=RandomUUID()))
        assert trips.sql("SELECT count(DISTINCT code) FROM shop_trip") == [(20,)]

    def test_a_default_that_changes_needs_an_expression(self, bench):
        trips = bench()
        field = models.UUIDField(default=uuid.uuid4)
        with pytest.raises(NotOnline, match=r"EnforceNotNull\(\.\.\., fill=RandomUUID\(\)\)"):
            trips.try_out(EnforceNotNull("trip", "code", field))

    def test_the_trigger_fills_what_old_code_writes_under_another_search_path(
        self, bench, backfills, settings, database
    ):
        settings.DEPLOY_OPS_TWO_PHASE = True
        trips = bench(before=["INSERT INTO shop_trip (km) VALUES (1)"])
        operation = EnforceNotNull("trip", "purpose", models.CharField(max_length=20, default="x"))
        trips.apply(operation)
        (name,) = trips.names("function")
        assert name.startswith("deploy_ops_2_fill_")
        database.execute("INSERT INTO online.shop_trip (purpose) VALUES (NULL), ('y')")
        database.execute("UPDATE online.shop_trip SET purpose = NULL WHERE purpose = 'y'")
        assert trips.sql("SELECT DISTINCT purpose FROM shop_trip") == [("x",)]
        assert trips.sql("SELECT description FROM deploy_ops_contractrow") == [
            ("Drop the trigger that fills purpose",)
        ]


class TestLocks:
    def test_nobody_waits_longer_than_a_try_behind_a_reader_that_is_idle(
        self, bench, backfills, settings, database
    ):
        settings.DEPLOY_OPS_TWO_PHASE = True
        trips = bench(CAR, TRIP, before=["INSERT INTO shop_trip (km) VALUES (1)"])
        slowest = []
        with database.connect() as blocker, database.connect() as reader:
            blocker.execute("BEGIN; SELECT * FROM online.shop_trip; SELECT * FROM online.shop_car")
            threading.Timer(2, lambda: blocker.execute("COMMIT")).start()
            stop = threading.Event()

            def read():
                while not stop.wait(0.01):
                    began = time.monotonic()
                    reader.execute("SELECT km FROM online.shop_trip")
                    reader.execute("INSERT INTO online.shop_trip (km) VALUES (1)")
                    slowest.append(time.monotonic() - began)

            thread = threading.Thread(target=read)
            thread.start()
            key = models.ForeignKey("shop.car", models.CASCADE, null=True)
            trips.apply(
                EnforceCheck("trip", FAR),
                AddFieldOnline("trip", "car", key),
                AddFieldOnline("trip", "note", models.CharField(max_length=20, default="x")),
                EnforceNotNull("trip", "purpose", models.CharField(max_length=20, default="x")),
            )
            stop.set()
            thread.join()
        assert max(slowest) < 0.3

    def test_an_atomic_migration_is_refused_with_the_cure(self, bench):
        trips = bench()
        with pytest.raises(NeedsNoTransaction, match="    atomic = False"):
            trips.try_out(AddIndexOnline("trip", INDEX), is_atomic=True)
        with pytest.raises(NeedsNoTransaction):
            trips.try_out(EnforceCheck("trip", FAR), is_atomic=True)

    def test_a_column_alone_fits_into_an_atomic_migration(self, bench):
        trips = bench()
        trips.try_out(AddFieldOnline("trip", "n", models.IntegerField(null=True)), is_atomic=True)
        assert "shop_trip.n" in trips.names("column")


class TestIndexes:
    def test_what_a_killed_build_left_is_replaced(self, bench, database):
        trips = bench()
        trips.sql("CREATE INDEX trip_km ON shop_trip (purpose)")
        database.cluster.execute(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'online.trip_km'::regclass",
            dbname=database.name,
        )
        trips.try_out(AddIndexOnline("trip", INDEX))
        assert ("index", "trip_km") in [row[:2] for row in trips.catalog()]
        (definition,) = [row[2] for row in trips.catalog() if row[1] == "trip_km"]
        assert definition == "CREATE INDEX trip_km ON shop_trip USING btree (km) truetrue"

    @pytest.mark.parametrize(
        ("sql", "operation"),
        [
            ("CREATE INDEX trip_km ON shop_trip (purpose)", AddIndexOnline("trip", INDEX)),
            ("CREATE INDEX once ON shop_trip (km, purpose)", EnforceUnique("trip", ONCE)),
            (
                "ALTER TABLE shop_trip ADD CONSTRAINT far CHECK (km > 1)",
                EnforceCheck("trip", FAR),
            ),
        ],
    )
    def test_another_one_of_the_name_is_refused(self, bench, sql, operation):
        trips = bench()
        trips.sql(sql)
        before = trips.catalog()
        with pytest.raises(NotOnline, match="it is not what this makes.\n    there:  "):
            trips.try_out(operation)
        assert trips.catalog() == before

    def test_a_build_of_somebody_else_is_waited_for(self, bench, database):
        trips = bench(before=["INSERT INTO shop_trip (km) SELECT generate_series(1, 1000)"])
        with database.connect() as old_snapshot, database.connect() as other:
            old_snapshot.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
            build = "CREATE INDEX CONCURRENTLY trip_km ON online.shop_trip (km)"
            builder = threading.Thread(target=lambda: other.execute(build))
            builder.start()
            while not trips.sql("SELECT 1 FROM pg_class WHERE relname = 'trip_km'"):
                time.sleep(0.01)
            (oid,) = trips.sql("SELECT 'trip_km'::regclass::oid")
            threading.Timer(1, lambda: old_snapshot.execute("COMMIT")).start()
            trips.try_out(AddIndexOnline("trip", INDEX))
            builder.join()
        assert trips.sql(
            "SELECT 'trip_km'::regclass::oid, indisvalid FROM pg_index"
            " WHERE indexrelid = 'trip_km'::regclass"
        ) == [(*oid, True)]

    def test_a_partitioned_table_is_refused(self, bench):
        trips = bench()
        trips.sql(
            "DROP TABLE shop_trip",
            "CREATE TABLE shop_trip (id int, km int) PARTITION BY RANGE (id)",
            "CREATE TABLE part PARTITION OF shop_trip FOR VALUES FROM (0) TO (100)",
        )
        with pytest.raises(NotOnline, match="shop_trip is partitioned"):
            trips.try_out(AddIndexOnline("trip", INDEX))

    def test_constraints_of_a_partitioned_table(self, bench, backfills):
        trips = bench()
        trips.sql(
            "DROP TABLE shop_trip",
            "CREATE TABLE shop_trip (id int, km int) PARTITION BY RANGE (id)",
            "CREATE TABLE part PARTITION OF shop_trip FOR VALUES FROM (0) TO (100)",
            "INSERT INTO shop_trip VALUES (1, 1), (2, NULL)",
        )
        trips.try_out(EnforceCheck("trip", FAR))
        trips.try_out(EnforceNotNull("trip", "km", models.IntegerField(default=7)))
        assert trips.sql("SELECT id, km FROM shop_trip ORDER BY id") == [(1, 1), (2, 7)]
        columns = {name: how for kind, name, how in trips.catalog() if kind == "column"}
        assert columns["shop_trip.km"] == columns["part.km"] == "integer true"


class TestRefused:
    @pytest.mark.parametrize(
        ("field", "why"),
        [
            (models.UUIDField(db_default=RandomUUID()), "another value"),
            (models.IntegerField(), "has no value"),
            (models.IntegerField(default=1, unique=True), "or the same for all"),
            (
                models.GeneratedField(
                    expression=models.F("km") * 2,
                    output_field=models.IntegerField(),
                    db_persist=True,
                ),
                "stored generated",
            ),
        ],
    )
    def test_a_field_that_would_rewrite_or_has_no_value(self, bench, field, why):
        trips = bench()
        before = trips.catalog()
        with pytest.raises(NotOnline, match=why):
            trips.try_out(AddFieldOnline("trip", "new", field))
        assert trips.catalog() == before

    @pytest.mark.parametrize(
        "operation",
        [
            EnforceNotNull("trip", "km", models.BigIntegerField()),
            EnforceUnique("trip", "km", models.BigIntegerField(unique=True, null=True)),
        ],
    )
    def test_a_field_that_changes_its_type_as_well(self, bench, operation):
        with pytest.raises(NotOnline, match="changes in more than"):
            bench().try_out(operation)


class TestFiles:
    OPERATIONS = (
        AddIndexOnline("trip", INDEX),
        RemoveIndexOnline("trip", "trip_km"),
        EnforceCheck("trip", FAR),
        EnforceUnique("trip", ONCE),
        EnforceUnique("trip", ["km", "purpose"]),
        EnforceUnique("trip", "km", models.IntegerField(unique=True)),
        EnforceNotNull("trip", "km", models.IntegerField(), fill=models.F("id")),
        AddFieldOnline("trip", "at", models.DateTimeField(db_default=Now())),
        EnforceForeignKey("trip", "car", models.ForeignKey("shop.car", models.CASCADE)),
    )

    def test_are_written_as_the_migrations_of_people(self, database):
        source = MigrationWriter(
            type("M", (migrations.Migration,), {"operations": list(self.OPERATIONS)})("0002", APP)
        ).as_string()
        assert "import deploy_ops.phases\n" in source
        found = {}
        exec(compile(source, "0002", "exec"), found)  # as Django imports it
        again = [OperationWriter(each).serialize() for each in found["Migration"].operations]
        assert again == [OperationWriter(each).serialize() for each in self.OPERATIONS]

    def test_sqlmigrate_shows_the_sql_of_both_halves(self, bench, settings):
        trips = bench()
        operation = EnforceNotNull("trip", "km", models.IntegerField(default=0))
        settings.DEPLOY_OPS_TWO_PHASE = True
        sql = "\n".join(trips.collect(operation))
        for part in (
            "CREATE TRIGGER",
            'UPDATE "shop_trip" SET "km" = (0) WHERE "km" IS NULL;',
            "NOT VALID;",
            "VALIDATE CONSTRAINT",
            "SET NOT NULL;",
            "DROP CONSTRAINT",
            "-- waits for the contract phase:",
            "DROP TRIGGER",
        ):
            assert part in sql
        assert trips.collect(AddIndexOnline("trip", INDEX)) == [
            'CREATE INDEX CONCURRENTLY "trip_km" ON "shop_trip" ("km");'
        ]

    def test_reduce_to_what_they_come_to(self, database):
        from django.db.migrations.optimizer import MigrationOptimizer

        (made,) = MigrationOptimizer().optimize(
            [
                create("trip", ("km", models.IntegerField(null=True))),
                AddFieldOnline("trip", "a", models.IntegerField(null=True)),
                EnforceNotNull("trip", "a", models.IntegerField(default=1)),
                AddIndexOnline("trip", INDEX),
                EnforceCheck("trip", FAR),
            ],
            APP,
        )
        assert isinstance(made, migrations.CreateModel)
        assert made.options == {"indexes": [INDEX], "constraints": [FAR]}
        both = [AddIndexOnline("trip", INDEX), RemoveIndexOnline("trip", "trip_km")]
        assert MigrationOptimizer().optimize(both, APP) == []


def test_gin_and_unmanaged_and_routed_models_are_left_alone(bench, settings):
    trips = bench(create("seen", ("data", models.JSONField()), managed=False))
    before = trips.catalog()
    index = GinIndex(fields=["data"], name="gin")
    trips.try_out(AddIndexOnline("seen", index))
    trips.try_out(AddFieldOnline("seen", "n", models.IntegerField(null=True)))
    settings.DATABASE_ROUTERS = [Nowhere()]
    trips.apply(TRIP)
    trips.try_out(AddIndexOnline("trip", INDEX))
    trips.try_out(EnforceNotNull("trip", "km", models.IntegerField(default=0)))
    assert trips.catalog() == before


class Nowhere:
    """Lets no model anywhere."""

    def allow_migrate(self, db, app_label, **hints):
        return app_label != APP
