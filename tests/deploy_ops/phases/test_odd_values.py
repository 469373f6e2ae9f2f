"""Two columns for one field, where values, triggers and rules of the table are odd."""

from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connections, migrations, models

from deploy_ops.errors import BackfillFailed, BackfillRefused, NotOnline, RowsInTheWay
from deploy_ops.phases import (
    AddFieldOnline,
    Backfill,
    ChangeTypeOnline,
    Contract,
    EnforceNotNull,
    RenameFieldOnline,
)
from deploy_ops.phases.operations import reach
from tests.deploy_ops.phases.bench import APP, PACKAGE, Bench, create

pytestmark = pytest.mark.parametrize("database", ["pg15"], indirect=True)
RENAME = RenameFieldOnline("trip", "km", "miles")
ROWS = "INSERT INTO shop_trip (km) SELECT n FROM generate_series(1, 30) AS n"
KEEPS = (
    "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS"
    " $$BEGIN IF OLD.id = 7 THEN RETURN NULL; END IF; RETURN NEW; END$$",
    "CREATE TRIGGER a BEFORE UPDATE ON shop_trip FOR EACH ROW EXECUTE FUNCTION keep()",
)
TIME_AND_DAY = models.DateTimeField(), models.DateField(db_column="day")


class Odd(models.Field):
    """A field of any type of PostgreSQL."""

    def __init__(self, kind="", **kwargs):
        self.kind = kind
        super().__init__(**kwargs)

    def db_type(self, connection):
        return self.kind

    def deconstruct(self):
        name, path, args, kwargs = super().deconstruct()
        return name, path, [self.kind, *args], kwargs


@pytest.fixture
def alias(django_alias, settings):
    settings.MIGRATION_MODULES = {APP: PACKAGE}
    settings.DEPLOY_OPS_TWO_PHASE = True
    call_command("migrate", "deploy_ops", database=django_alias, verbosity=0)
    return django_alias


def bench_of(alias, field, *sql):
    given = create("trip", ("km", field))
    given.options["db_table"] = "shop_trip"
    return Bench(alias, given=[given], before=sql)


def without_triggers(bench, statement):
    """As a replica applies it, or a restore of single tables."""
    off, on = (f"ALTER TABLE shop_trip {each} TRIGGER USER" for each in ("DISABLE", "ENABLE"))
    bench.sql(off, statement, on)


@pytest.mark.parametrize("kind", ["json", "xml", "point"])
def test_types_without_equality(alias, kind):
    value = {"json": "1", "xml": "<a/>", "point": "(1,2)"}[kind]
    bench = bench_of(alias, Odd(kind), f"INSERT INTO shop_trip (km) VALUES ('{value}')")
    bench.try_out(RENAME)
    bench.sql(f"INSERT INTO shop_trip (miles) VALUES ('{value}')")
    bench.sql(f"UPDATE shop_trip SET miles = '{value}', km = km")
    assert bench.sql("SELECT count(*) FROM shop_trip WHERE miles::text = km::text") == [(2,)]
    bench.contract(RENAME)
    assert bench.sql("SELECT count(miles) FROM shop_trip") == [(2,)]


@pytest.mark.parametrize("by", ["miles", "km"])
def test_what_differs_but_is_equal_is_not_lost(alias, by):
    """A collation takes 'anna' and 'Anna' for the same, whoever corrects the one to the other."""
    bench = Bench(alias, given=[])
    bench.sql(
        "CREATE COLLATION IF NOT EXISTS public.nocase"
        " (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    )
    bench = bench_of(alias, models.TextField(db_collation="nocase"))
    bench.sql("INSERT INTO shop_trip (km) VALUES ('anna')")
    bench.try_out(RENAME)
    bench.sql(f"UPDATE shop_trip SET {by} = 'Anna'")
    assert bench.sql("SELECT km, miles FROM shop_trip") == [("Anna", "Anna")]
    bench.contract(RENAME)
    assert bench.sql("SELECT miles FROM shop_trip") == [("Anna",)]


def test_a_row_that_a_trigger_keeps_is_told(alias):
    bench = bench_of(alias, models.IntegerField(null=True), ROWS, *KEEPS)
    with pytest.raises(
        BackfillFailed,
        match="the row id = 7 was not written, or was changed back since: by a trigger",
    ):
        bench.try_out(RENAME)
    bench.sql("DROP TRIGGER a ON shop_trip")
    bench.try_out(RENAME)
    assert bench.sql("SELECT count(*) FROM shop_trip WHERE km = miles") == [(30,)]


BY_HAND = {
    "old dropped": "DROP COLUMN km",
    "old renamed": "RENAME COLUMN km TO km_old",
    "new dropped": "DROP COLUMN miles",
    "new renamed": "RENAME COLUMN miles TO far",
}


@pytest.mark.parametrize("by_hand", BY_HAND.values(), ids=BY_HAND.keys())
def test_a_column_that_somebody_took_away_is_told_and_not_called_done(alias, by_hand):
    bench = bench_of(alias, models.IntegerField(unique=True), ROWS)
    bench.try_out(RENAME)
    for name in [each[2] for each in bench.catalog() if each[0] == "trigger"]:
        bench.sql(f"DROP TRIGGER {name} ON shop_trip")
    bench.sql(f"ALTER TABLE shop_trip {by_hand}")
    before = bench.catalog()
    with pytest.raises(NotOnline, match="has no column (km|miles) any more"):
        bench.contract(RENAME)
    assert bench.catalog() == before


def test_a_trigger_on_updates_of_the_column_would_not_fire(alias):
    trigger = (
        "CREATE TRIGGER b AFTER UPDATE OF km ON shop_trip FOR EACH ROW EXECUTE FUNCTION keep()"
    )
    bench = bench_of(alias, models.IntegerField(null=True), ROWS, KEEPS[0], trigger)
    before = bench.catalog()
    with pytest.raises(NotOnline, match="b on shop_trip fires on UPDATE OF km"):
        bench.try_out(RENAME)
    assert bench.catalog() == before


@pytest.mark.parametrize("kind", ["distance", "varchar(900)", 'text COLLATE "C"'])
def test_a_type_that_somebody_has_changed_stays(alias, kind):
    domain = "CREATE DOMAIN distance AS varchar(900) CHECK (VALUE > '')"
    drop = "DROP DOMAIN IF EXISTS distance CASCADE"
    change = f"ALTER TABLE shop_trip ALTER km TYPE {kind}"
    long = "INSERT INTO shop_trip (km) VALUES (repeat('x', 800))"
    bench = bench_of(alias, models.CharField(max_length=9), drop, domain, change, long)
    before = [each[2] for each in bench.catalog() if each[1] == "shop_trip.km"]
    bench.try_out(RENAME)
    bench.sql("UPDATE shop_trip SET miles = repeat('y', 800)")
    bench.contract(RENAME)
    assert [each[2] for each in bench.catalog() if each[1] == "shop_trip.miles"] == before
    assert bench.sql("SELECT length(miles) FROM shop_trip") == [(800,)]


def test_rows_that_policies_hide_are_told(alias):
    hides = "CREATE POLICY far ON shop_trip USING (km > 10)"
    force = "ALTER TABLE shop_trip ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    bench = bench_of(alias, models.IntegerField(null=True), ROWS, hides, force)
    with pytest.raises(BackfillRefused, match="BYPASSRLS"):
        bench.try_out(RENAME)


def test_what_was_written_without_triggers_is_not_dropped(alias):
    bench = bench_of(alias, models.IntegerField(null=True), ROWS)
    bench.try_out(RENAME)
    without_triggers(bench, "UPDATE shop_trip SET miles = 77 WHERE id = 3")
    with pytest.raises(RowsInTheWay):
        bench.contract(RENAME)
    bench.sql("UPDATE shop_trip SET miles = 78 WHERE id = 3")
    bench.contract(RENAME)
    assert bench.sql("SELECT miles FROM shop_trip WHERE id = 3") == [(78,)]


def test_what_old_code_wrote_without_triggers_is_not_dropped(alias):
    change = ChangeTypeOnline("trip", "km", models.TextField(null=True, db_column="text"))
    bench = bench_of(alias, models.IntegerField(null=True), ROWS)
    bench.try_out(change)
    without_triggers(bench, "INSERT INTO shop_trip (km) VALUES (77)")
    with pytest.raises(RowsInTheWay):
        bench.contract(change)
    bench.sql("UPDATE shop_trip SET km = 78 WHERE km = 77")
    bench.contract(change)
    assert bench.sql("SELECT text FROM shop_trip ORDER BY id DESC LIMIT 1") == [("78",)]


def test_a_day_is_the_same_for_whoever_writes(alias):
    """As Django casts it, in the time zone of its connections."""
    field, day = TIME_AND_DAY
    bench = bench_of(alias, field, "INSERT INTO shop_trip (km) VALUES ('2026-01-01 23:30+00')")
    change = ChangeTypeOnline("trip", "km", day)
    bench.sql("SET TimeZone = 'UTC'")
    bench.try_out(change)
    bench.sql("SET TimeZone = 'Asia/Tokyo'")
    bench.sql("UPDATE shop_trip SET km = '2026-01-02 23:30+00'")
    assert bench.sql("SELECT day::text FROM shop_trip") == [("2026-01-02",)]
    bench.sql("SET TimeZone = 'UTC'")
    bench.contract(change)


TYPES = {
    "rename": RENAME,
    "wider": ChangeTypeOnline("trip", "km", models.BigIntegerField(null=True)),
    "narrower": ChangeTypeOnline("trip", "km", models.SmallIntegerField(null=True)),
    "two columns": ChangeTypeOnline("trip", "km", models.TextField(null=True, db_column="text")),
}
NOT_NULL = EnforceNotNull("trip", "km", models.IntegerField(default=3))
FILL = Backfill("trip", "km", 3)
PUBLISH = "CREATE PUBLICATION odd FOR TABLE shop_trip"
EACH = pytest.mark.parametrize("operation", TYPES.values(), ids=TYPES.keys())


@pytest.fixture
def unpublished(alias):
    """Without the publication of a test, which is not in a schema."""
    yield alias
    connections[alias].cursor().execute("DROP PUBLICATION IF EXISTS odd")


def assert_refused(bench, operation, error, said):
    before = bench.catalog()
    with pytest.raises(error, match=said):
        bench.try_out(operation)
    assert bench.catalog() == before
    assert bench.sql("SELECT count(*) FROM deploy_ops_backfillprogress") == [(0,)]


@pytest.mark.parametrize("operation", [*TYPES.values(), NOT_NULL], ids=[*TYPES, "not null"])
def test_rows_of_tables_that_inherit_have_no_triggers(alias, operation):
    child = "CREATE TABLE archive () INHERITS (shop_trip)"
    bench = bench_of(alias, models.IntegerField(null=True), ROWS, child)
    assert_refused(bench, operation, NotOnline, "archive inherits from shop_trip, whose triggers")


@EACH
def test_a_column_of_the_table_above(alias, operation):
    above = "CREATE TABLE top (km integer)", "ALTER TABLE shop_trip INHERIT top"
    bench = bench_of(alias, models.IntegerField(null=True), ROWS, *above)
    assert_refused(bench, operation, NotOnline, "shop_trip.km is inherited from top")


@EACH
def test_a_column_that_only_the_database_knows_to_be_generated(alias, operation):
    drop = "ALTER TABLE shop_trip DROP km, ADD km integer GENERATED ALWAYS AS (id * 2) STORED"
    bench = bench_of(alias, models.IntegerField(null=True), drop)
    assert_refused(bench, operation, NotOnline, "shop_trip.km is generated in the database")


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (RENAME, "build an index"),
        (TYPES["narrower"], "change the type"),
        (TYPES["two columns"], "change the type"),
    ],
    ids=["rename", "narrower", "two columns"],
)
def test_partitions_are_refused_before_the_second_column(alias, operation, said):
    bench = bench_of(alias, models.IntegerField(null=True, db_index=operation is RENAME))
    bench.sql("ALTER TABLE shop_trip RENAME TO gone")
    bench.sql("CREATE TABLE shop_trip (LIKE gone) PARTITION BY LIST (id)")
    assert_refused(bench, operation, NotOnline, f"partitioned, and PostgreSQL cannot {said}")


NO_UPDATES = {
    "nothing": ["ALTER TABLE shop_trip REPLICA IDENTITY NOTHING", PUBLISH],
    "no key": ["ALTER TABLE shop_trip DROP CONSTRAINT shop_trip_pkey", PUBLISH],
    "no index any more": [
        "ALTER TABLE shop_trip ADD other integer NOT NULL DEFAULT 1",
        "CREATE UNIQUE INDEX other ON shop_trip (id, other)",
        "ALTER TABLE shop_trip REPLICA IDENTITY USING INDEX other",
        "DROP INDEX other",
        PUBLISH,
    ],
    "a list that is no key": ["ALTER TABLE shop_trip ADD n int", f"{PUBLISH} (n)"],
    "a condition": ["ALTER TABLE shop_trip ADD n int", f"{PUBLISH} WHERE (n > 1)"],
}


@pytest.mark.parametrize("how", NO_UPDATES.values(), ids=NO_UPDATES.keys())
def test_what_a_publication_makes_impossible_is_refused_at_first(unpublished, how):
    rows = "INSERT INTO shop_trip (km) VALUES (NULL), (1)"
    bench = bench_of(unpublished, models.IntegerField(null=True), rows, *how)
    for operation in (*TYPES.values(), NOT_NULL):
        assert_refused(bench, operation, NotOnline, "filled: PostgreSQL takes no UPDATE of shop_t")
    for each in (FILL, Backfill("trip", "km", 3, detached=True)):
        assert_refused(bench, each, BackfillRefused, r"shop_trip \(km\) cannot run: PostgreSQL")
    bench.try_out(AddFieldOnline("trip", "new", models.IntegerField(default=1)))


SENT = {
    "the whole row": ["ALTER TABLE shop_trip REPLICA IDENTITY FULL", PUBLISH],
    "a list": [f"{PUBLISH} (id)"],
    "inserts alone": [
        "ALTER TABLE shop_trip REPLICA IDENTITY NOTHING",
        f"{PUBLISH} WITH (publish = 'insert')",
    ],
}


@pytest.mark.parametrize("how", SENT.values(), ids=SENT.keys())
def test_what_subscribers_get_is_told(unpublished, monkeypatch, how):
    told = []
    monkeypatch.setattr(reach, "listener", lambda: SimpleNamespace(say=told.append))
    bench = bench_of(unpublished, models.IntegerField(null=True), ROWS, *how)
    for operation, name in ((RENAME, "miles"), (TYPES["two columns"], "text")):
        bench.try_out(operation)
        bench.sql(f"UPDATE shop_trip SET {name} = id + 7")
        bench.contract(operation)
        assert bench.sql(f"SELECT count(*) FROM shop_trip WHERE {name}::int = id + 7") == [(30,)]
        gets = "list of columns of shop_trip, without" if "(id)" in how[-1] else "sends"
        assert len(told) == 1 and gets in told[0] and name in told.pop()
        bench.sql(f"ALTER TABLE shop_trip RENAME {name} TO km")


@pytest.mark.parametrize("operation", [RENAME, TYPES["two columns"]], ids=["rename", "two columns"])
def test_what_is_right_at_the_end_of_a_transaction_may_be_wrong_before(alias, operation):
    late = models.UniqueConstraint(
        fields=["km"], name="late", deferrable=models.Deferrable.DEFERRED
    )
    trip = create("trip", ("km", models.IntegerField(null=True)), constraints=[late])
    bench = Bench(alias, given=[trip], before=[ROWS])
    bench.try_out(operation)
    bench.sql("UPDATE shop_trip SET km = km + 1")  # meets rows that it has still to write
    with pytest.raises(DatabaseError, match="late|deploy_ops_"):
        bench.sql("UPDATE shop_trip SET km = 5")
    bench.contract(operation)
    [kept] = [each[2] for each in bench.catalog() if each[1] == "shop_trip.late"]
    assert kept.endswith("DEFERRABLE INITIALLY DEFERRED truetruetrue")


def test_who_may_use_a_column_may_use_it_under_both_names(alias, database):
    bench = bench_of(alias, models.IntegerField(null=True), ROWS)
    bench.sql("GRANT SELECT (km), UPDATE (km) ON shop_trip TO PUBLIC")
    bench.try_out(RENAME)
    acl = "SELECT DISTINCT attacl::text FROM pg_attribute WHERE attname IN ('km', 'miles')"
    [(granted,)] = bench.sql(f"{acl} AND attrelid = 'shop_trip'::regclass")
    assert granted.startswith("{=rw/")
    bench.contract(RENAME)
    assert bench.sql(f"{acl} AND attrelid = 'shop_trip'::regclass") == [(granted,)]


def test_types_that_cannot_be_had_by_a_cast_or_a_second_column(alias):
    domain = "CREATE DOMAIN public.filled AS integer NOT NULL"
    bench = bench_of(
        alias, Odd("int4range", null=True), "DROP DOMAIN IF EXISTS public.filled", domain
    )
    two = ChangeTypeOnline("trip", "km", Odd("int8range", null=True, db_column="wide"))
    assert_refused(bench, two, NotOnline, "int8range from int4range, and PostgreSQL has no cast")
    bench = bench_of(alias, Odd("filled", null=True))
    two = ChangeTypeOnline("trip", "km", models.TextField(null=True, db_column="text"))
    for operation in (RENAME, two):
        assert_refused(bench, operation, NotOnline, "is of the domain filled, which is NOT NULL")


def test_what_statistics_are_told_stays(alias):
    told = "ALTER TABLE shop_trip ALTER km SET (n_distinct = -0.5)"
    bench = bench_of(alias, models.IntegerField(null=True), ROWS, told)
    bench.try_out(TYPES["wider"])
    options = "SELECT attoptions FROM pg_attribute WHERE attname = 'km'"
    assert bench.sql(f"{options} AND attrelid = 'shop_trip'::regclass") == [(["n_distinct=-0.5"],)]


def test_a_column_of_others_is_not_written_over(alias):
    bench = bench_of(alias, models.IntegerField(null=True), ROWS)
    bench.sql("ALTER TABLE shop_trip ADD miles integer DEFAULT 5")
    with pytest.raises(NotOnline, match="already has a column miles"):
        bench.try_out(RENAME)
    assert bench.sql("SELECT count(*) FROM shop_trip WHERE miles = 5") == [(30,)]


def test_a_default_that_hides_null(alias):
    bench = bench_of(alias, models.IntegerField(null=True), ROWS)
    bench.sql("ALTER TABLE shop_trip ALTER km SET DEFAULT 5")  # as AddFieldOnline does for a while
    with pytest.raises(NotOnline, match="would look the same as that default"):
        bench.try_out(RENAME)


def test_rows_of_other_partitions_keep_their_values(alias):
    """Each partition numbers its rows from the first."""
    bench = bench_of(alias, models.IntegerField(default=int))
    bench.sql(
        "ALTER TABLE shop_trip RENAME TO gone",
        "CREATE TABLE shop_trip (LIKE gone) PARTITION BY LIST (id)",
        "CREATE TABLE one PARTITION OF shop_trip FOR VALUES IN (1)",
        "CREATE TABLE two PARTITION OF shop_trip FOR VALUES IN (2)",
        "INSERT INTO shop_trip (id, km) VALUES (1, 77)",
    )
    removal = Contract(migrations.RemoveField("trip", "km"))
    bench.try_out(removal)
    bench.sql("INSERT INTO shop_trip (id) VALUES (2)")  # as new code does
    bench.reverse(removal)  # in a migration that is not atomic
    assert bench.sql("SELECT id, km FROM shop_trip ORDER BY id") == [(1, 77), (2, 0)]


def test_a_table_that_has_the_new_name_already(alias, settings):
    settings.DEPLOY_OPS_TWO_PHASE = False
    given = create("trip", ("km", models.IntegerField()))
    bench = Bench(alias, given=[given], before=["CREATE TABLE shop_tour (id integer)"])
    with pytest.raises(DatabaseError, match="already exists"):
        bench.try_out(Contract(migrations.RenameModel("trip", "tour")))
