"""ChangeTypeOnline ends in the schema of Django's AlterField, forwards, backwards, after any kill."""

import uuid

import pytest
from django.contrib.postgres.fields import ArrayField
from django.core.management import call_command
from django.db import migrations, models
from django.db.migrations.state import ProjectState
from django.db.models.functions import Lower

from deploy_ops.errors import NeedsNoTransaction, NotOnline, RowsInTheWay
from deploy_ops.phases import AddIndexOnline, ChangeTypeOnline, EnforceNotNull, RenameFieldOnline
from deploy_ops.phases.rows import waiting_rows
from tests.deploy_ops.phases.bench import APP, PACKAGE, Bench, create, recorded
from tests.project.both_codes import failures_of

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
MONEY = {"max_digits": 10, "decimal_places": 4}
LESS = {"max_digits": 8, "decimal_places": 2}


def trip(field, *others, key=None, options=None, **table):
    given = create("trip", ("km", field), ("note", models.TextField(null=True)), *others, key=key)
    given.options |= {"db_table": "shop_trip"} | (options or {}) | table
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
        [rows("n")],
        models.BigIntegerField(unique=True),
    ),
    "everything": (
        trip(models.IntegerField(db_index=True), options=EVERYTHING),
        [rows("n")],
        models.BigIntegerField(db_index=True),
    ),
    "check_of_its_kind": (
        trip(models.PositiveIntegerField(unique=True, db_default=3, db_comment="half of it's")),
        [rows("n"), "ALTER TABLE shop_trip ALTER km SET STATISTICS 7"],
        models.PositiveBigIntegerField(unique=True, db_default=3, db_comment="half of it's"),
    ),
    "odd_names": (
        trip(
            models.IntegerField(db_column="Km old"),
            db_table="Trips.of X",
            options={"indexes": [models.Index(fields=["km"], name="Odd Name")]},
        ),
        [rows("n", '"Trips.of X"', "Km old")],
        models.BigIntegerField(db_column="Km old"),
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
        ["INSERT INTO shop_trip SELECT md5(n::text)::uuid, n FROM generate_series(1, 30) AS n"],
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
            {"db_table": "shop_trip"},
        ),
        ["INSERT INTO shop_trip SELECT n % 3, n, n FROM generate_series(1, 50) AS n"],
        models.BigIntegerField(null=True),
    ),
}
DIFFERS_ON_18 = ["not_null", "everything", "check_of_its_kind", "number_from_text"]
DATABASE_AND_CASE = [
    *(("pg15", case) for case in CASES),
    *(("pg18", case) for case in DIFFERS_ON_18),
]


@pytest.fixture
def alias(django_alias, settings):
    settings.MIGRATION_MODULES = {APP: PACKAGE}
    call_command("migrate", "deploy_ops", database=django_alias, verbosity=0)
    return django_alias


def values(bench):
    """The rows, whatever the order of the columns."""
    listed = ", ".join(f'"{name.rpartition(".")[2]}"' for name in bench.names("column"))
    with bench.connection.cursor() as cursor:
        cursor.execute(f"SELECT {listed} FROM {table(bench)} ORDER BY {listed}", None)
        return cursor.fetchall()


def table(bench):
    return bench.connection.ops.quote_name(bench.state.models[APP, "trip"].options["db_table"])


def file_of(bench):
    """What a rewrite would change."""
    return bench.sql(f"SELECT pg_relation_filenode('{table(bench)}')")


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
    before = file_of(bench)
    bench.try_out(operation)
    assert file_of(bench) == before
    assert (bench.catalog(), values(bench)) == after
    with recorded(bench.connection) as statements:
        bench.try_out(operation)
    assert bench.catalog() == after[0]
    assert not [each for each in statements if "CONCURRENTLY" in each or "UPDATE" in each]
    bench.reverse(operation)
    assert bench.catalog() == reversed_


@pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
def test_the_swap_reads_no_row(alias):
    given, before, field = CASES["not_null"]
    bench = Bench(alias, given=[given], before=before)
    said, statements = [], []
    bench.connection.connection.add_notice_handler(lambda each: said.append(each.message_primary))

    def listen(execute, sql, params, many, context):
        said.clear()
        result = execute(sql, params, many, context)
        statements.append((str(sql), list(said)))
        return result

    with bench.connection.execute_wrapper(listen):
        bench.sql("SET client_min_messages = debug1")
        bench.try_out(ChangeTypeOnline("trip", "km", field))
        bench.sql("RESET client_min_messages")
    [proven] = [said for sql, said in statements if "SET NOT NULL" in sql]
    assert "are sufficient to prove that it does not contain nulls" in proven[0]
    swap = [sql for sql, _ in statements].index(
        next(sql for sql, _ in statements if "SET NOT NULL" in sql)
    )
    told = " ".join(each for _, said in statements[swap:] for each in said)
    assert "rewriting table" not in told and "verifying table" not in told
    assert "building index" not in told


@PG15
def test_goes_on_after_a_kill_at_any_statement(alias):
    case = "check_of_its_kind"
    _, after, _ = wanted(alias, case)
    given, before, field = CASES[case]
    operation = ChangeTypeOnline("trip", "km", field)
    bench = Bench(alias, given=[given], before=before)
    kills = 0
    while bench.killed_after(kills + 1, lambda: bench.try_out(operation)):
        kills += 1
        bench.try_out(operation)
        assert (bench.catalog(), values(bench)) == after
        bench.sql("DROP TABLE shop_trip")
        bench.state = ProjectState()
        bench.apply(given, is_atomic=True)
        bench.sql(*before)
    assert kills > 15


class TestTwoPhases:
    @pytest.fixture(autouse=True)
    def two_phases(self, alias, settings):
        settings.DEPLOY_OPS_TWO_PHASE = True

    def prepared(self, alias, case):
        """In between, with what fails for either code then."""
        given, before, field = CASES[case]
        bench = Bench(alias, given=[given], before=before)
        operation = ChangeTypeOnline("trip", "km", field)
        bench.try_out(operation)
        return bench, operation

    def fails(self, bench, operation):
        states = bench.state, bench.after(operation)
        return [failures_of(each.apps, APP, bench.connection.alias) for each in states]

    @pytest.mark.parametrize("case", ["not_null", "digits"])
    @PG15
    def test_a_wider_type_serves_both_at_once(self, alias, case):
        _, (after, _), reversed_ = wanted(alias, case)
        bench, operation = self.prepared(alias, case)
        assert bench.catalog() == after
        assert self.fails(bench, operation) == [[], []]
        assert waiting_rows(bench.connection) == []
        bench.reverse(operation)
        assert bench.catalog() == reversed_

    @pytest.mark.parametrize("case", ["smaller", "fewer_digits", "shorter"])
    @PG15
    def test_a_narrower_type_waits(self, alias, case):
        at_first, after, reversed_ = wanted(alias, case)
        bench, operation = self.prepared(alias, case)
        assert bench.catalog() == at_first
        assert self.fails(bench, operation) == [[], []]
        [row] = waiting_rows(bench.connection)
        assert row.description == "Change the type of km on trip (online)"
        bench.reverse(operation)
        assert bench.catalog() == at_first
        bench.contract(operation)
        assert (bench.catalog(), values(bench)) == after
        bench.contract(operation)
        assert bench.catalog() == after[0]
        bench.reverse(operation)  # the row has gone with the first one
        assert bench.catalog() == reversed_

    @PG15
    def test_what_later_migrations_did_before_it_is_kept(self, alias):
        bench = Bench(alias, given=[trip(models.BigIntegerField(null=True))], before=[rows("n")])
        narrower = ChangeTypeOnline("trip", "km", models.IntegerField(null=True))
        state = bench.state
        bench.apply(narrower)
        bench.apply(EnforceNotNull("trip", "km", models.IntegerField()))
        bench.apply(AddIndexOnline("trip", models.Index(fields=["km"], name="later")))
        bench.sql("UPDATE deploy_ops_contractrow SET migration = '0001_before'")
        with pytest.raises(NotOnline, match="changes the same type"):
            bench.try_out(ChangeTypeOnline("trip", "km", models.BigIntegerField()))
        wide, narrow = (
            ("column", "shop_trip.km", f"{each} true") for each in ("bigint", "integer")
        )
        assert wide in bench.catalog()
        after = sorted({*bench.catalog(), narrow} - {wide})
        bench.state = state
        bench.contract(narrower)
        assert bench.catalog() == after
        assert bench.names("index") == ["later", "shop_trip_pkey"]
        bench.sql("ALTER TABLE shop_trip RENAME km TO miles")
        with pytest.raises(NotOnline, match="has no column km any more"):
            bench.contract(narrower)

    @pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
    def test_each_code_has_a_column_of_its_own(self, alias):
        at_first, (after, _), _ = wanted(alias, "number_in_another_column")
        bench, operation = self.prepared(alias, "number_in_another_column")
        assert self.fails(bench, operation)[1] == []
        for column, value in (("km", "'77'"), ('"Km new"', "78")):
            bench.sql(f"INSERT INTO shop_trip ({column}) VALUES ({value})")
            bench.sql(f"UPDATE shop_trip SET {column} = {value} WHERE km = '5'")
        pairs = 'SELECT DISTINCT km::int = "Km new" FROM shop_trip'
        assert bench.sql(pairs) == [(True,)]
        upsert = """INSERT INTO shop_trip ("Km new") VALUES (NULL) RETURNING km, "Km new\""""
        assert bench.sql(upsert) == [(None, None)]
        bench.reverse(operation)
        assert bench.catalog() == at_first
        bench.try_out(operation)
        bench.contract(operation)
        assert bench.catalog() == after
        bench.contract(operation)
        assert bench.catalog() == after

    @PG15
    def test_neither_code_can_use_the_column_of_the_other(self, alias):
        with pytest.raises(NotOnline, match='db_column="?.km_new') as raised:
            self.prepared(alias, "number_from_text")
        assert "integer from varchar(20)" in str(raised.value)


@PG15
def test_what_others_write_while_it_fills(alias, database):
    """Old code goes on writing to the first column, and nothing of it is lost."""
    given = trip(models.IntegerField())
    bench = Bench(
        alias,
        given=[given],
        before=["INSERT INTO shop_trip (km) SELECT n FROM generate_series(1, 8000) AS n"],
    )
    numbers = list(range(4))

    def write(execute, sql, params, many, context):
        if str(sql).startswith('UPDATE "shop_trip"') and numbers:
            number = numbers.pop()
            database.execute("INSERT INTO online.shop_trip (km) VALUES (%s)", [10_000 + number])
            database.execute("UPDATE online.shop_trip SET km = -1 WHERE km = %s", [2900 + number])
            database.execute("DELETE FROM online.shop_trip WHERE km = %s", [2800 + number])
        return execute(sql, params, many, context)

    with bench.connection.execute_wrapper(write):
        bench.try_out(ChangeTypeOnline("trip", "km", models.BigIntegerField()))
    assert not numbers
    counts = "SELECT count(*) FROM shop_trip WHERE km {}"
    assert bench.sql(counts.format(">= 10000")) == [(4,)]
    assert bench.sql(counts.format("= -1")) == [(4,)]
    assert bench.sql(counts.format("< 10000")) == [(7996,)]


@PG15
def test_is_djangos_own_where_nobody_else_works(alias):
    case = "number_from_text"
    _, after, _ = wanted(alias, case)
    given, before, field = CASES[case]
    bench = Bench(alias, given=[given], before=before, is_new=True)
    bench.try_out(ChangeTypeOnline("trip", "km", field), is_atomic=True)
    assert (bench.catalog(), values(bench)) == after


@PG15
class TestObstacles:
    def test_a_value_that_does_not_fit(self, alias):
        bench = Bench(
            alias, given=[trip(models.BigIntegerField())], before=[rows("n * 1000000000::bigint")]
        )
        before = bench.catalog()
        with pytest.raises(RowsInTheWay, match="does not fit into its new type") as raised:
            bench.try_out(ChangeTypeOnline("trip", "km", models.IntegerField()))
        assert "integer out of range" in str(raised.value)
        assert bench.catalog() == before
        bench.sql("UPDATE shop_trip SET km = 1")
        bench.try_out(ChangeTypeOnline("trip", "km", models.IntegerField()))
        assert bench.sql("SELECT DISTINCT km FROM shop_trip") == [(1,)]

    def test_a_text_is_not_cut(self, alias):
        bench = Bench(alias, given=[trip(models.TextField())], before=[rows("'abc' || n")])
        with pytest.raises(RowsInTheWay, match="value too long"):
            bench.try_out(ChangeTypeOnline("trip", "km", models.CharField(max_length=4)))

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("CREATE VIEW far AS SELECT km FROM shop_trip", "view far"),
            ("ALTER TABLE shop_trip ADD d int GENERATED ALWAYS AS (km * 2) STORED", "column d"),
            ("CREATE STATISTICS more ON km, note FROM shop_trip", "statistics object more"),
            ("GRANT SELECT (km) ON shop_trip TO public", "privileges"),
            ("CREATE TABLE b (a int REFERENCES shop_trip (km))", "constraint b_a_fkey"),
            ("ALTER TABLE shop_trip ADD EXCLUDE (km WITH =)", "shop_trip_km_excl"),
            ("CREATE SEQUENCE s OWNED BY shop_trip.km", "sequence s"),
        ],
    )
    def test_what_hangs_on_the_column_is_named(self, alias, sql, said):
        bench = Bench(alias, given=[trip(models.IntegerField(unique=True))], before=[sql])
        before = bench.catalog()
        with pytest.raises(NotOnline, match=said):
            bench.try_out(ChangeTypeOnline("trip", "km", models.BigIntegerField(unique=True)))
        assert bench.catalog() == before

    def test_a_partitioned_table(self, alias):
        create_table = "CREATE TABLE shop_trip (id int, km int) PARTITION BY HASH (id)"
        bench = Bench(
            alias,
            given=[trip(models.IntegerField())],
            before=["DROP TABLE shop_trip", create_table],
        )
        with pytest.raises(NotOnline, match="is partitioned"):
            bench.try_out(ChangeTypeOnline("trip", "km", models.BigIntegerField()))
        assert bench.names("column") == ["shop_trip.id", "shop_trip.km"]

    @pytest.mark.parametrize(
        ("before", "after", "said"),
        [
            (models.IntegerField(null=True), models.BigIntegerField(), "more than its type: null"),
            (models.IntegerField(), models.BigIntegerField(db_index=True), "db_index"),
            (models.IntegerField(), models.PositiveBigIntegerField(), "the check"),
            (
                models.IntegerField(),
                models.ForeignKey("trip", models.CASCADE, db_column="km"),
                "refers",
            ),
        ],
        ids=["null", "index", "check", "relation"],
    )
    def test_what_changes_besides(self, alias, before, after, said):
        bench = Bench(alias, given=[trip(before)])
        with pytest.raises(NotOnline, match=said):
            bench.try_out(ChangeTypeOnline("trip", "km", after))

    def test_a_key(self, alias):
        bench = Bench(alias, given=[create("trip", key=models.AutoField(primary_key=True))])
        with pytest.raises(NotOnline, match="primary key, to which other tables refer"):
            bench.try_out(ChangeTypeOnline("trip", "id", models.BigAutoField(primary_key=True)))

    def test_a_column_that_has_a_second_name_still(self, alias, settings):
        settings.DEPLOY_OPS_TWO_PHASE = True
        bench = Bench(alias, given=[trip(models.IntegerField())])
        bench.apply(RenameFieldOnline("trip", "km", "miles"))
        with pytest.raises(NotOnline, match="a second name for old code"):
            bench.try_out(ChangeTypeOnline("trip", "miles", models.BigIntegerField()))

    def test_an_atomic_migration(self, alias):
        bench = Bench(alias, given=[trip(models.IntegerField())])
        with pytest.raises(NeedsNoTransaction):
            bench.try_out(ChangeTypeOnline("trip", "km", models.BigIntegerField()), is_atomic=True)
        bench = Bench(alias, given=[trip(models.CharField(max_length=4))])
        bench.try_out(ChangeTypeOnline("trip", "km", models.TextField()), is_atomic=True)

    def test_models_of_others(self, alias, settings):
        settings.SHOP_TRIP = "auth.User"
        for options in ({"managed": False}, {"swappable": "SHOP_TRIP"}):
            bench = Bench(alias, given=[trip(models.IntegerField())])
            before = bench.catalog()
            bench.state.models[APP, "trip"].options |= options
            bench.state.reload_model(APP, "trip")
            bench.try_out(ChangeTypeOnline("trip", "km", models.BigIntegerField()))
            assert bench.catalog() == before

    def test_sqlmigrate_shows_both_halves(self, alias, settings):
        settings.DEPLOY_OPS_TWO_PHASE = True
        given, before, field = CASES["check_of_its_kind"]
        bench = Bench(alias, given=[given], before=before)
        text = "\n".join(bench.collect(ChangeTypeOnline("trip", "km", field)))
        for part in (
            "ADD COLUMN",
            "CREATE TRIGGER",
            "UPDATE",
            "CONCURRENTLY",
            "VALIDATE",
            "DROP COLUMN",
            "RENAME",
        ):
            assert part in text
        less = ChangeTypeOnline(
            "trip",
            "km",
            models.PositiveSmallIntegerField(unique=True, db_default=3, db_comment="half of it's"),
        )
        waits = "\n".join(bench.collect(less)).partition("-- waits for the contract phase:")
        assert "ADD COLUMN" in waits[2] and "smallint" in waits[2] and "COLUMN" not in waits[0]
        bench.sql("DROP TABLE shop_trip")
        assert "ADD COLUMN" in "\n".join(bench.collect(ChangeTypeOnline("trip", "km", field)))
