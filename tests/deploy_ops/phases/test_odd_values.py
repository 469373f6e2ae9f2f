"""Two columns for one field, where values, triggers and rules of the table are odd."""

import pytest
from django.core.management import call_command
from django.db import DatabaseError, migrations, models

from deploy_ops.errors import BackfillFailed, BackfillRefused, NotOnline, RowsInTheWay
from deploy_ops.phases import ChangeTypeOnline, Contract, RenameFieldOnline
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


def test_a_column_of_others_is_not_written_over(alias):
    bench = bench_of(alias, models.IntegerField(null=True), ROWS)
    bench.sql("ALTER TABLE shop_trip ADD miles integer DEFAULT 5")
    with pytest.raises(NotOnline, match="has a column miles already"):
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
