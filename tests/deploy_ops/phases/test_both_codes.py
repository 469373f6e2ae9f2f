"""What the findings say of both codes is what models of both do on a real schema in between."""

import json

import pytest

from tests.sample_apps.written import deploy_first

INITIAL = """
migrations.CreateModel("customer", [
    ("id", models.BigAutoField(primary_key=True)),
    ("name", models.CharField(max_length=50)),
]),
migrations.CreateModel("order", [
    ("id", models.BigAutoField(primary_key=True)),
    ("customer", models.ForeignKey("shop.customer", models.CASCADE)),
    ("note", models.CharField(max_length=50)),
    ("remark", models.CharField(max_length=50, null=True)),
    ("code", models.CharField(max_length=20, unique=True)),
    ("pieces", models.IntegerField()),
    ("ordinal", models.PositiveIntegerField(null=True)),
    ("total", models.BigIntegerField()),
    ("score", models.IntegerField(db_default=5)),
    ("price", models.DecimalField(max_digits=8, decimal_places=2)),
    ("watchers", models.ManyToManyField("shop.customer", related_name="+")),
]),
migrations.AddConstraint("order", models.UniqueConstraint(fields=["price"], name="one_price")),
migrations.CreateModel("invoice", [
    ("id", models.BigAutoField(primary_key=True)),
    ("order", models.ForeignKey("shop.order", models.CASCADE)),
]),
"""
ASK = """
import json
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from deploy_ops.phases.both_codes import plan_findings
connection = connections["default"]
loader = MigrationLoader(connection)
before = loader.project_state(("shop", "0001_initial"))
[after] = [each for key, each in loader.disk_migrations.items() if key == ("shop", "0002_change")]
new = loader.project_state(("shop", "0002_change")).apps
found = plan_findings(connection, before, [after], new)
print(json.dumps([[each.id, "still runs" in each.msg, each.msg, each.hint] for each in found]))
"""
TRY = """
import json
from tests.project.both_codes import failures
print(json.dumps([failures("shop", "0001_initial"), failures("shop", "0002_change")]))
"""


def waits(operation):
    return f"Contract({operation}),"


NO_NOTE = 'migrations.RemoveField("order", "note")'
NO_CODE = 'migrations.RemoveField("order", "code")'
NO_ORDINAL = 'migrations.RemoveField("order", "ordinal")'
NO_CUSTOMER = 'migrations.RemoveField("order", "customer")'
NO_WATCHERS = 'migrations.RemoveField("order", "watchers")'
REMARK = 'migrations.AlterField("order", "remark", models.CharField(max_length=50, default="-"))'
SHORT_NOTE = 'migrations.AlterField("order", "note", models.CharField(max_length=20))'
LONG_NOTE = 'migrations.AlterField("order", "note", models.TextField())'
NULL_NOTE = 'migrations.AlterField("order", "note", models.CharField(max_length=50, null=True))'
SMALL_TOTAL = 'migrations.AlterField("order", "total", models.IntegerField())'
SMALL_TOTAL_ONLINE = 'ChangeTypeOnline("order", "total", models.IntegerField()),'
BIG_PIECES = 'migrations.AlterField("order", "pieces", models.BigIntegerField())'
LESS_PRICE = """migrations.AlterField("order", "price", models.DecimalField(max_digits=8,
    decimal_places=4))"""
MORE_PRICE = """migrations.AlterField("order", "price", models.DecimalField(max_digits=12,
    decimal_places=4))"""
PLAIN_SCORE = 'migrations.AlterField("order", "score", models.IntegerField(default=5))'
ONE_NOTE = """migrations.AddConstraint("order",
    models.UniqueConstraint(fields=["note"], name="one_note"))"""
ONE_NOTE_TOO = """migrations.AddConstraint("order",
    models.UniqueConstraint(fields=["note", "code"], name="one_code"))"""
FEW_PIECES = """migrations.AddConstraint("order",
    models.CheckConstraint(condition=models.Q(pieces__lt=1000), name="few_pieces"))"""
NO_ONE_PRICE = 'migrations.RemoveConstraint("order", "one_price")'
UNIQUE_NOTE = """migrations.AlterField("order", "note",
    models.CharField(max_length=50, unique=True))"""
PLAIN_CODE = 'migrations.AlterField("order", "code", models.CharField(max_length=20))'
NO_INVOICE = 'migrations.DeleteModel("invoice")'
ADDED = 'migrations.AddField("order", "colour", models.CharField(max_length=9, {})),'
GENERATED = """migrations.AddField("order", "copy", models.GeneratedField(
    expression=models.F("note"), output_field=models.CharField(max_length=50), db_persist=True)),"""
ONLINE = 'AddFieldOnline("order", "colour", models.CharField(max_length=9, {})),'
FILLED = """EnforceNotNull("order", "remark", models.CharField(max_length=50, default="-")),"""
UNFILLED = 'EnforceNotNull("order", "ordinal", models.PositiveIntegerField()),'
STATE_ONLY = "migrations.SeparateDatabaseAndState(state_operations=[{}]),"

CASES = {
    "remove-field": (NO_NOTE + ",", {"T006"}, set()),
    "remove-field-waits": (waits(NO_NOTE), set(), set()),
    "remove-field-in-models-only": (STATE_ONLY.format(NO_NOTE), set(), {"T007"}),
    "remove-unique-field-waits": (waits(NO_CODE), set(), set()),
    "remove-field-of-a-constraint-waits": (waits(NO_ORDINAL), set(), set()),
    "remove-foreign-key": (NO_CUSTOMER + ",", {"T006"}, set()),
    "remove-foreign-key-waits": (waits(NO_CUSTOMER), set(), set()),
    "remove-many-to-many": (NO_WATCHERS + ",", {"T005"}, set()),
    "remove-many-to-many-waits": (waits(NO_WATCHERS), set(), set()),
    "delete-model": (NO_INVOICE + ",", {"T005"}, set()),
    "delete-model-waits": (waits(NO_INVOICE), set(), set()),
    "rename-model": ('migrations.RenameModel("invoice", "bill"),', {"T005"}, set()),
    "rename-model-waits": (waits('migrations.RenameModel("invoice", "bill")'), set(), set()),
    "smaller-online": (SMALL_TOTAL_ONLINE, set(), set()),
    "rename-field": (
        'migrations.RenameField("order", "note", "text"),',
        {"T006", "T007"},
        set(),
    ),
    "add-field-with-default": (ADDED.format('default="red"'), {"T007"}, set()),
    "add-field-with-db-default": (ADDED.format('db_default="red"'), set(), set()),
    "add-field-with-null": (ADDED.format("null=True"), set(), set()),
    "add-generated-field": (GENERATED, set(), set()),
    "not-null": (REMARK + ",", {"T008"}, set()),
    "not-null-waits": (waits(REMARK), set(), set()),
    "null": (NULL_NOTE + ",", set(), set()),
    "null-runs-at-once": (waits(NULL_NOTE), set(), set()),
    "shorter": (SHORT_NOTE + ",", {"T009"}, set()),
    "shorter-waits": (waits(SHORT_NOTE), set(), set()),
    "longer": (LONG_NOTE + ",", set(), set()),
    "smaller": (SMALL_TOTAL + ",", {"T009"}, set()),
    "smaller-waits": (waits(SMALL_TOTAL), set(), set()),
    "bigger": (BIG_PIECES + ",", set(), set()),
    "bigger-waits": (waits(BIG_PIECES), set(), {"T009"}),
    "fewer-digits": (LESS_PRICE + ",", {"T009"}, set()),
    "more-digits": (MORE_PRICE + ",", set(), set()),
    "no-db-default": (PLAIN_SCORE + ",", {"T007"}, set()),
    "no-db-default-waits": (waits(PLAIN_SCORE), set(), set()),
    "unique-constraint": (ONE_NOTE + ",", {"T010"}, set()),
    # Old code inserts nothing ON CONFLICT of it, but new code may.
    "unique-constraint-waits": (waits(ONE_NOTE), set(), {"T013"}),
    "unique-constraint-that-holds-anyway": (ONE_NOTE_TOO + ",", set(), set()),
    "unique-field": (UNIQUE_NOTE + ",", {"T010"}, set()),
    "unique-field-waits": (waits(UNIQUE_NOTE), set(), {"T013"}),
    "not-unique-any-more-waits": (waits(NO_ONE_PRICE), set(), {"T010"}),
    "not-unique-any-more": (NO_ONE_PRICE + ",", {"T013"}, set()),
    "rename-field-online": ('RenameFieldOnline("order", "note", "text"),', set(), set()),
    "add-field-online": (ONLINE.format('default="red"'), set(), set()),
    "add-field-online-with-null": (ONLINE.format("null=True"), set(), set()),
    "enforce-not-null-filled": (FILLED, set(), set()),
    "enforce-not-null-unfilled": (UNFILLED, {"T008"}, set()),
    "enforce-unique": ('EnforceUnique("order", ["note", "pieces"]),', {"T010"}, set()),
    "check": (FEW_PIECES + ",", {"T011"}, set()),
    "check-waits": (waits(FEW_PIECES), set(), set()),
}


@pytest.fixture
def shop(postgresql_project):
    return deploy_first(postgresql_project, INITIAL, "migrate")


def ask(project, code):
    return json.loads(project.run("shell", "--no-imports", "-c", code, check=0).stdout)


@pytest.mark.parametrize("operations, old, new", CASES.values(), ids=CASES)
def test_findings_are_what_fails(postgresql_project, shop, operations, old, new):
    is_online = not operations.startswith(("migrations.", "Contract("))
    shop.migration("0002_change", operations, atomic=not is_online)
    found = ask(postgresql_project, ASK)
    said = [
        {id_.removeprefix("deploy_ops.") for id_, is_old, *_ in found if is_old is which}
        for which in (True, False)
    ]
    assert said == [old, new], found
    postgresql_project.run("migrate", check=0)
    failed = ask(postgresql_project, TRY)
    assert [bool(each) for each in failed] == [bool(old), bool(new)], failed
