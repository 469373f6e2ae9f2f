"""Rules that are not about one table's lock: each reported where it is true, silent where not."""

import uuid

import django.contrib.postgres.indexes
import pytest
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    ValidateConstraint,
)
from django.core import checks
from django.db import DatabaseError, migrations, models, transaction
from django.db.migrations import RunPython, RunSQL

from deploy_ops.databases.facts import Facts, TableFacts
from deploy_ops.migrate.lint import operations, parsing
from deploy_ops.migrate.lint.judge import Judge
from deploy_ops.phases import ChangeTypeOnline, Contract
from tests.deploy_ops.migrate.lint.conftest import ALIAS
from tests.deploy_ops.migrate.lint.samples import SAMPLES
from tests.deploy_ops.migrate.lint.world import APP
from tests.kvb import test_models  # a module that imports models, for L210

m = migrations
BIG = TableFacts(3_000_000, 451_000_000, 555_000_000)
noop = RunSQL.noop


pytestmark = pytest.mark.parametrize("watch", ["pg15"], indirect=True, scope="package")


@pytest.fixture
def rules(watch):
    """rules(*operations, atomic=, two_phase=, big=) -> ids and levels of what is found."""

    def find(*operations, atomic=True, two_phase=False, big=()):
        facts = watch.facts
        if big:
            tables = {**facts.tables, **{f"reise_{name}": BIG for name in big}}
            facts = Facts(facts.server_version, tables, facts.not_null, facts.checked)
        migration = m.Migration("0002_sample", APP)
        migration.operations, migration.atomic = list(operations), atomic
        found = Judge(alias=ALIAS, facts=facts, two_phase=two_phase).plan([migration], watch.state)
        return {finding.rule: finding for finding in found}

    return find


@pytest.fixture
def run(watch):
    """Run operations, to see them fail; nothing stays."""

    def do(*operations):
        migration = m.Migration("0002_sample", APP)
        migration.operations = list(operations)
        with transaction.atomic(ALIAS):
            with watch.connection.schema_editor(atomic=True) as editor:
                migration.apply(watch.state.clone(), editor)
            transaction.set_rollback(True, ALIAS)

    return do


NOT_NEGATIVE = models.CheckConstraint(condition=models.Q(km__gte=0), name="c")
INDEX = models.Index(fields=["km"], name="i")


def one_by_one(apps, schema_editor):
    Fahrt = apps.get_model("reise", "Fahrt")
    for fahrt in Fahrt.objects.all():
        fahrt.km += 1
        fahrt.save()


def at_once(apps, schema_editor):
    apps.get_model("reise", "Fahrt").objects.update(km=1)


def in_batches(apps, schema_editor):
    Fahrt = apps.get_model("reise", "Fahrt")
    while ids := list(Fahrt.objects.filter(status=None).values_list("id", flat=True)[:1000]):
        Fahrt.objects.filter(id__in=ids).update(status="neu")


def only_reads(apps, schema_editor):
    assert apps.get_model("reise", "Fahrt").objects.exists()


def of_an_empty_table(apps, schema_editor):
    apps.get_model("reise", "Leer").objects.update(zweck="x")


def with_the_model_of_today(apps, schema_editor):
    test_models.Fahrt.objects.count()
    Fahrt.objects.count()


Fahrt = test_models.Fahrt

# Levels and sizes


def test_the_level_follows_from_the_size_of_the_table(rules, watch):
    index = m.AddIndex("fahrt", INDEX)
    assert rules(index)["L001"].level == checks.INFO
    assert rules(index, big=["fahrt"])["L001"].level == checks.ERROR
    unknown = Judge(alias=ALIAS, facts=Facts(server_version=150000))
    migration = m.Migration("0002_sample", APP)
    migration.operations = [index]
    [finding] = unknown.plan([migration], watch.state)
    assert finding.level == checks.ERROR and "unknown size" in finding.msg


def test_a_message_has_the_readers_names_the_size_the_time_and_the_cure(rules):
    finding = rules(
        m.AlterField("fahrt", "status", models.CharField(max_length=20)), big=["fahrt"]
    )["L003"]
    assert finding.msg == (
        "Adding NOT NULL to reise_fahrt.status reads 3.0 million rows (451 MB) while reads and "
        "writes wait (about 2 s)."
    )
    assert finding.hint == (
        "from deploy_ops.phases import EnforceNotNull\n"
        "# in a migration of its own, with atomic = False:\n"
        'EnforceNotNull("fahrt", "status", models.CharField(max_length=20))'
    )
    assert (finding.lock, finding.table) == ("ACCESS EXCLUSIVE", "reise_fahrt")


def test_a_database_that_is_not_postgresql_has_no_locks_to_report(watch):
    migration = m.Migration("0002_sample", APP)
    migration.operations = [m.AddIndex("fahrt", INDEX), m.RemoveField("fahrt", "status")]
    assert Judge(alias=ALIAS, facts=Facts()).plan([migration], watch.state) == []
    two_phase = Judge(alias=ALIAS, facts=Facts(), two_phase=True)
    assert [each.rule for each in two_phase.plan([migration], watch.state)] == ["L101"]


def test_what_says_of_itself_that_it_is_online_is_believed(rules):
    class Online(m.RemoveField):
        is_online = True

    assert rules(Online("fahrt", "nutzer"), two_phase=True, big=["fahrt", "nutzer"]) == {}


# Transactions


def test_validating_in_the_transaction_that_locked(rules):
    operations = [AddConstraintNotValid("fahrt", NOT_NEGATIVE), ValidateConstraint("fahrt", "c")]
    assert "L018" in rules(*operations)
    assert "L018" not in rules(*operations, atomic=False)
    assert "L018" not in rules(ValidateConstraint("fahrt", "noch"))


def test_code_under_a_lock(rules):
    add = m.AddField("fahrt", "neu", models.IntegerField(null=True))
    code = RunPython(one_by_one, RunPython.noop)
    assert "L019" in rules(add, code)
    assert "L019" not in rules(code, add)
    assert "L019" not in rules(add, code, atomic=False)
    assert "L019" not in rules(add, RunPython(RunPython.noop, RunPython.noop))
    assert "L019" in rules(add, RunSQL("UPDATE reise_fahrt SET neu = 1", noop))


def test_several_busy_tables_in_one_transaction(rules):
    both = [m.RemoveField("fahrt", "status"), m.RemoveField("satz", "wort")]
    assert "L020" in rules(*both, big=["fahrt", "satz"])
    assert "L020" not in rules(*both, big=["fahrt"])
    assert "L020" not in rules(both[0], big=["fahrt", "satz"])


def test_an_index_built_concurrently_needs_no_transaction(rules, run):
    operation = AddIndexConcurrently("fahrt", INDEX)
    assert rules(operation)["L206"].level == checks.ERROR
    assert rules(operation, atomic=False) == {}
    with pytest.raises(DatabaseError):
        run(operation)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY i ON reise_fahrt (km)",
        "DROP INDEX CONCURRENTLY fahrt_datum",
        "REINDEX INDEX CONCURRENTLY fahrt_datum",
        "VACUUM reise_fahrt",
        "ALTER TABLE teile DETACH PARTITION teil_1 CONCURRENTLY",
        "CREATE DATABASE x",
    ],
)
def test_sql_that_needs_no_transaction(rules, run, statement):
    assert "L206" in rules(RunSQL(statement, noop))
    assert "L206" not in rules(RunSQL([statement], noop), atomic=False)
    assert "L206" in rules(RunSQL(f"SELECT 1; {statement}", noop), atomic=False)
    with pytest.raises(DatabaseError):
        run(RunSQL(statement, noop))


def test_several_operations_without_a_transaction(rules):
    one = AddIndexConcurrently("fahrt", INDEX)
    assert "L207" in rules(one, m.RemoveField("fahrt", "status"), atomic=False)
    assert "L207" not in rules(one, atomic=False)
    assert "L207" not in rules(one, m.AlterModelOptions("fahrt", {}), atomic=False)


# Code


def test_code_that_writes_every_row(rules):
    assert "one by one" in rules(RunPython(one_by_one))["L204"].msg
    assert rules(RunPython(one_by_one), big=["fahrt"])["L204"].level == checks.ERROR
    assert "updates or deletes" in rules(RunPython(at_once))["L204"].msg
    assert "L204" not in rules(RunPython(only_reads))
    assert "L204" not in rules(RunPython(of_an_empty_table))


def test_code_that_commits_in_batches(rules):
    assert "L204" in rules(RunPython(in_batches))
    assert "L204" not in rules(RunPython(in_batches), atomic=False)
    assert "L204" in rules(RunPython(in_batches, atomic=True), atomic=False)
    assert "L204" in rules(RunPython(one_by_one, atomic=True), atomic=False)


def test_code_without_a_way_back(rules):
    assert "L209" in rules(RunPython(only_reads))
    assert "L209" not in rules(RunPython(only_reads, RunPython.noop))
    assert "L209" in rules(RunSQL("SELECT 1"))
    assert "L209" not in rules(RunSQL("SELECT 1", noop))


def test_code_that_uses_the_model_of_today(rules):
    assert "L210" in rules(RunPython(with_the_model_of_today))
    assert "L210" not in rules(RunPython(one_by_one))


# SQL


@pytest.mark.parametrize("sql", ["DO $$ BEGIN END $$", "CALL f()", "SELEKT 1", "CREATE INDEX ON"])
def test_sql_that_cannot_be_read(rules, sql):
    assert rules(RunSQL(sql, noop))["L201"].level == checks.WARNING


def test_sql_with_parameters_is_read(rules):
    assert rules(RunSQL([("SELECT %s, '100%%'", [1])], noop)) == {}
    assert "L001" in rules(RunSQL(["SELECT 1", "CREATE INDEX ON reise_fahrt (km)"], noop))


def test_sql_without_the_parser(rules, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pglast", None)
    finding = rules(RunSQL("SELECT 1", noop))["L201"]
    assert "pglast is not installed" in finding.msg and "deploy-ops[lint]" in finding.hint
    assert parsing.statements_of(noop).rule == "L201"


def test_an_operation_that_nobody_knows(rules):
    class Foreign(m.operations.base.Operation):
        def state_forwards(self, app_label, state):
            pass

    assert "L201" in rules(Foreign())


def test_an_operation_that_reading_fails_on_stops_nothing(rules, monkeypatch):
    def fail(*_args):
        raise ZeroDivisionError("by zero")

    monkeypatch.setitem(operations.READERS, "AddIndex", fail)
    found = rules(m.AddIndex("fahrt", INDEX), m.RemoveField("fahrt", "nutzer"))
    assert "ZeroDivisionError: by zero" in found["L201"].msg and "L014" in found


@pytest.mark.parametrize("word", ["COMMIT", "BEGIN", "ROLLBACK", "START TRANSACTION"])
def test_sql_that_ends_the_transaction(rules, word):
    assert "L202" in rules(RunSQL(f"SELECT 1; {word}", noop))
    assert "L202" not in rules(RunSQL(word, noop), atomic=False)
    assert "L202" not in rules(RunSQL("SAVEPOINT a; ROLLBACK TO a", noop))


def test_sql_that_loses_data(rules):
    assert "L205" in rules(RunSQL("TRUNCATE reise_fahrt CASCADE", noop))
    assert "L205" not in rules(RunSQL("TRUNCATE reise_leer", noop))
    assert "L205" in rules(RunSQL("DROP SCHEMA alt CASCADE", noop))
    assert "L205" in rules(RunSQL("DROP DATABASE alt", noop))


def test_an_update_of_some_rows_is_no_error(rules):
    some = RunSQL("UPDATE reise_fahrt SET km = 1 WHERE km = 2", noop)
    assert rules(some, big=["fahrt"])["L203"].level == checks.WARNING
    every = RunSQL("UPDATE reise_fahrt SET km = 1", noop)
    assert rules(every, big=["fahrt"])["L203"].level == checks.ERROR


def test_a_table_that_is_not_there_keeps_nobody_waiting(rules):
    assert rules(RunSQL("UPDATE nowhere SET km = 1", noop)) == {}
    assert "L203" in rules(RunSQL('UPDATE "public"."reise_fahrt" SET km = 1', noop))


# Rows that are there


def test_the_same_value_in_a_unique_column(rules, run):
    unique = models.UUIDField(default=uuid.uuid4, unique=True)
    assert rules(m.AddField("fahrt", "neu", unique))["L208"].level == checks.ERROR
    with pytest.raises(DatabaseError):
        run(m.AddField("fahrt", "neu", unique))
    assert rules(m.AddField("leer", "neu", unique)) == {}
    run(m.AddField("leer", "neu", unique))
    assert "L208" not in rules(m.AddField("fahrt", "neu", models.UUIDField(null=True, unique=True)))


def test_not_null_without_a_value(rules, run):
    date = models.DateField()
    assert rules(m.AddField("fahrt", "neu", date))["L214"].level == checks.ERROR
    with pytest.raises(DatabaseError):
        run(m.AddField("fahrt", "neu", date))
    assert rules(m.AddField("leer", "neu", date)) == {}
    run(m.AddField("leer", "neu", date))


def test_a_view_on_the_column(rules, run):
    removal = m.RemoveField("fahrt", "km")
    if django.VERSION < (6,):
        assert "CASCADE drops it too" in rules(removal)["L211"].msg
        run(removal)
    else:
        assert "PostgreSQL refuses to drop it" in rules(removal)["L211"].msg
        with pytest.raises(DatabaseError):
            run(removal)
    assert "L211" not in rules(m.RemoveField("fahrt", "status"))
    wider = m.AlterField("fahrt", "km", models.BigIntegerField())
    assert "L211" in rules(wider)
    with pytest.raises(DatabaseError):
        run(wider)


# The release that still runs


def two(rules, *operations):
    """Ids with --two-phase that are not there without it."""
    return " ".join(sorted(rules(*operations, two_phase=True).keys() - rules(*operations).keys()))


FAHRT_NEU = [("id", models.BigAutoField(primary_key=True)), ("a", models.IntegerField(null=True))]


@pytest.mark.parametrize(
    ("ids", "operation"),
    [
        ("L101", m.RemoveField("fahrt", "status")),
        ("L101", m.RemoveField("fahrt", "tags")),
        ("L102", m.DeleteModel("Beleg")),
        ("L103", m.RenameField("fahrt", "status", "stand")),
        ("L103", m.AlterField("fahrt", "km", models.PositiveIntegerField(db_column="x"))),
        ("L104", m.RenameModel("Leer", "Voll")),
        ("L104", Contract(m.RenameModel("Leer", "Voll"))),
        ("", Contract(m.RemoveField("fahrt", "status"))),
        ("L104", m.AlterModelTable("leer", "voll")),
        ("", m.AlterModelTable("leer", "reise_leer")),
        ("L105", m.AddField("fahrt", "neu", models.IntegerField(default=1))),
        ("L105", m.AddField("leer", "neu", models.IntegerField(default=1))),
        ("", m.AddField("fahrt", "neu", models.IntegerField(null=True))),
        ("", m.AddField("fahrt", "neu", models.IntegerField(db_default=1))),
        ("L106", m.AlterField("fahrt", "status", models.CharField(max_length=20))),
        ("L106", m.AlterField("fahrt", "rang", models.IntegerField(db_index=True, db_default=1))),
        ("L107", m.AlterField("fahrt", "zweck", models.CharField(max_length=9))),
        ("", m.AlterField("fahrt", "zweck", models.CharField(max_length=900))),
        ("", m.AlterField("fahrt", "plaetze", models.BigIntegerField())),
        ("L107", m.AlterField("fahrt", "plaetze", models.SmallIntegerField())),
        ("", ChangeTypeOnline("fahrt", "plaetze", models.SmallIntegerField())),
        ("L107", ChangeTypeOnline("fahrt", "zweck", models.IntegerField(db_column="zahl"))),
        ("L108", m.AddConstraint("fahrt", NOT_NEGATIVE)),
        ("L108", AddConstraintNotValid("fahrt", NOT_NEGATIVE)),
        ("L108", m.AlterField("fahrt", "km", models.PositiveIntegerField(unique=True))),
        ("L108", m.AlterUniqueTogether("fahrt", {("zweck", "beleg_nr"), ("km", "code")})),
        ("L109", m.AlterField("fahrt", "zweck", models.CharField(max_length=100, null=True))),
        ("L111", m.AlterField("fahrt", "vorgabe", models.IntegerField())),
        ("L110", RunSQL("ALTER TABLE reise_fahrt DROP COLUMN status", noop)),
        ("L110", RunSQL("ALTER TABLE reise_fahrt RENAME km TO strecke", noop)),
        ("L110", RunSQL("DROP TABLE reise_fahrt CASCADE", noop)),
        ("", RunSQL("ALTER TABLE teile DROP COLUMN id", noop)),
        ("", RunSQL("ALTER TABLE reise_fahrt ADD COLUMN neu int", noop)),
        ("", m.AddIndex("fahrt", INDEX)),
        ("", m.SeparateDatabaseAndState(state_operations=[m.RemoveField("fahrt", "status")])),
    ],
)
def test_what_breaks_the_running_release(rules, ids, operation):
    assert two(rules, operation) == ids


def test_a_table_of_this_plan_is_nobodys_yet(rules):
    make = m.CreateModel("Neu", FAHRT_NEU)
    for operation in (
        m.RemoveField("neu", "a"),
        m.AlterField("neu", "a", models.IntegerField(default=1)),
        m.RenameModel("Neu", "Ganz"),
        m.DeleteModel("Neu"),
    ):
        assert rules(make, operation, two_phase=True) == {}


def test_a_column_that_no_model_has_any_more_may_be_dropped(rules):
    state = m.SeparateDatabaseAndState(state_operations=[m.RemoveField("fahrt", "status")])
    drop = RunSQL("ALTER TABLE reise_fahrt DROP COLUMN status", noop)
    assert rules(state, drop, two_phase=True) == {}


# Cures


@pytest.mark.parametrize("name", [each for each in SAMPLES if not each.startswith("sql_")])
def test_a_cure_that_is_code_can_be_pasted(rules, name):
    names = {"models": models, "migrations": migrations, "django": django, "uuid": uuid}
    for finding in rules(*SAMPLES[name][1], two_phase=True).values():
        is_code = finding.hint.startswith("from deploy_ops.phases import")
        if is_code and "..." not in finding.hint:
            exec(finding.hint, dict(names))  # pylint: disable=exec-used  # that is the promise
