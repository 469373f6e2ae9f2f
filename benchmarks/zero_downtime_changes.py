"""Changes of a busy table: as plain Django has them, as each peer documents them, and as ours.

The codes before and after send what Django's `get`, `create` and `save` send: every column that
their models have, by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import deploy_ops.phases
from benchmarks.load import Code

PLAIN, ZERO, DEFERRED, OURS = "plain", "zero", "deferred", "ours"
TABLE = "trips_trip"
Columns = Mapping[str, str]

INITIAL = """
    migrations.CreateModel("Project", [("id", models.BigAutoField(primary_key=True))]),
    migrations.CreateModel("Trip", [
        ("id", models.BigAutoField(primary_key=True)),
        ("day", models.DateField()),
        ("origin", models.CharField(max_length=60)),
        ("destination", models.CharField(max_length=60)),
        ("km", models.DecimalField(max_digits=8, decimal_places=2)),
        ("purpose", models.CharField(max_length=100)),
        ("status", models.CharField(max_length=20, null=True)),
        ("receipt", models.BigIntegerField()),
        ("customer", models.IntegerField()),
        ("driver", models.IntegerField(db_index=True)),
    ]),
"""
FILL = (
    "INSERT INTO trips_project SELECT FROM generate_series(1, 1000)",
    f"""
    INSERT INTO {TABLE} (day, origin, destination, km, purpose, status, receipt, customer, driver)
    SELECT date '2020-01-01' + n %% 2000, 'origin ' || n %% 700, 'destination ' || n %% 900,
           n %% 90000 / 100.0, 'visit of customer ' || n %% 5000,
           CASE WHEN n %% 3 > 0 THEN 'paid' END, n, n %% 5000, n %% 3000
    FROM generate_series(1, %s) AS n
    """,
)
# A third of `status` is NULL, and old code goes on writing NULL into it.
OLD: Columns = {
    "day": "date '2026-11-02'",
    "origin": "'Wien'",
    "destination": "'Graz'",
    "km": "197.5",
    "purpose": "'fair'",
    "status": "NULL",
    "receipt": "%(fresh)s",
    "customer": "7",
    "driver": "7",
}
SAVED = frozenset(OLD) - {"day", "receipt", "driver"} | {"reason", "kind", "customer_big"}


@dataclass(frozen=True)
class Written:
    """Operations of one migration."""

    operations: str
    atomic: bool = False


@dataclass(frozen=True)
class Change:
    """One change: what new code sends of it, and the migrations of each tool.

    `columns` is what new code has besides or instead of old code's; None is a column that it does
    not know. `columns_of` is the same where a tool leaves another schema. With `blocked`, a reader
    keeps a transaction open meanwhile; with `vacuumed`, an autovacuum is at work, and with
    `granted`, the role may set deadlock_timeout, by which ours makes that give way sooner.
    """

    title: str
    migrations: Mapping[str, Sequence[Written]]
    columns: Mapping[str, str | None] = field(default_factory=dict)
    columns_of: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    blocked: bool = False
    vacuumed: bool = False
    granted: bool = False

    def codes(self, tool: str) -> tuple[Code, Code]:
        """Old code and new code."""
        changed = {**OLD, **self.columns_of.get(tool, self.columns)}
        new = {column: value for column, value in changed.items() if value is not None}
        return code("1", OLD), code("2", new)


def code(release: str, columns: Columns) -> Code:
    """Three reads, an insert and an update, as Django writes them."""
    names = ", ".join(columns)
    saved = ", ".join(f"{each} = {value}" for each, value in columns.items() if each in SAVED)
    read = f"SELECT id, {names} FROM {TABLE} WHERE id = %(row)s LIMIT 21"
    insert = f"INSERT INTO {TABLE} ({names}) VALUES ({', '.join(columns.values())}) RETURNING id"
    update = f"UPDATE {TABLE} SET {saved} WHERE id = %(row)s"
    return Code(f"gunicorn release={release}", (read, insert, read, update, read))


def _written(plain: str, ours: str, *deferred: Written) -> dict[str, Sequence[Written]]:
    """The backend of `zero` takes Django's own operations."""
    as_django = [Written(plain, atomic=True)]
    return {PLAIN: as_django, ZERO: as_django, DEFERRED: deferred, OURS: [Written(ours)]}


INDEX = 'models.Index(fields=["day"], name="trip_day")'
UNIQUE = 'models.UniqueConstraint(fields=["receipt"], name="trip_receipt")'
CHECK = 'models.CheckConstraint(condition=models.Q(km__gte=0), name="trip_km")'
KIND = '"trip", "kind", models.CharField(max_length=20, default="new")'
KIND_IN_DATABASE = '"trip", "kind", models.CharField(max_length=20, db_default="new")'
NOTE = '"trip", "kind", models.CharField(max_length=20, null=True)'
STATUS = '"trip", "status", models.CharField(max_length=20, default="new")'
PROJECT = '"trip", "project", models.ForeignKey("trips.project", models.CASCADE, null=True)'
CUSTOMER = '"trip", "customer", models.BigIntegerField()'
SAME = 'forwards_sql="{from}", backwards_sql="{to}"'

ADD_NULLABLE = _written(
    f"migrations.AddField({NOTE})",
    f"phases.AddFieldOnline({NOTE})",
    Written(f"migrations.AddField({NOTE})", atomic=True),
)

CHANGES = {
    "add_field": Change(
        "add a NOT NULL field with a default",
        {
            **_written(f"migrations.AddField({KIND})", f"phases.AddFieldOnline({KIND})"),
            # Both say that a default for old code has to be the database's.
            ZERO: [Written(f"migrations.AddField({KIND_IN_DATABASE})", atomic=True)],
            DEFERRED: [Written(f"migrations.AddField({KIND_IN_DATABASE})", atomic=True)],
        },
        columns={"kind": "'new'"},
    ),
    "not_null": Change(
        "NULL to NOT NULL with a default",
        _written(
            f"migrations.AlterField({STATUS})",
            f"phases.EnforceNotNull({STATUS})",
            Written("deferred.InstallNotNullFill('trip', 'status', \"'new'\")", atomic=True),
            Written(
                "deferred.BackfillNotNull('trip', 'status', \"'new'\"),"
                "deferred.SetNotNull('trip', 'status', models.CharField(max_length=20))"
            ),
        ),
        columns={"status": "'new'"},
    ),
    "index": Change(
        "add an index",
        _written(
            f'migrations.AddIndex("trip", {INDEX})',
            f'phases.AddIndexOnline("trip", {INDEX})',
            Written(f'deferred.AddIndexConcurrently("trip", {INDEX})'),
        ),
    ),
    "unique": Change(
        "add a unique constraint",
        _written(
            f'migrations.AddConstraint("trip", {UNIQUE})',
            f'phases.EnforceUnique("trip", {UNIQUE})',
            Written(f'deferred.AddConstraintConcurrently("trip", {UNIQUE})'),
        ),
    ),
    "foreign_key": Change(
        "add a foreign key",
        _written(
            f"migrations.AddField({PROJECT})",
            f"phases.AddFieldOnline({PROJECT})",
            Written(f"deferred.AddFieldConcurrently({PROJECT})"),
        ),
        columns={"project_id": "1"},
    ),
    "check": Change(
        "add a check",
        _written(
            f'migrations.AddConstraint("trip", {CHECK})',
            f'phases.EnforceCheck("trip", {CHECK})',
            Written(f'deferred.AddConstraintConcurrently("trip", {CHECK})'),
        ),
    ),
    "remove_field": Change(
        "remove a field",
        {
            **_written(
                'migrations.RemoveField("trip", "customer")',
                "",
                Written('deferred.DeferredRemoveField("trip", "customer")', atomic=True),
            ),
            OURS: [
                Written('phases.Contract(migrations.RemoveField("trip", "customer"))', atomic=True)
            ],
        },
        columns={"customer": None},
    ),
    "rename_field": Change(
        "rename a field",
        _written(
            'migrations.RenameField("trip", "purpose", "reason")',
            'phases.RenameFieldOnline("trip", "purpose", "reason")',
            Written(
                'migrations.AddField("trip", "reason", models.CharField(max_length=100, null=True)),'
                f'deferred.InstallColumnSync("trip", "purpose", "reason", {SAME})',
                atomic=True,
            ),
            Written(
                'deferred.BackfillColumnSync("trip", "purpose", "reason", "{from}"),'
                'deferred.SetNotNull("trip", "reason", models.CharField(max_length=100)),'
                'deferred.DeferredRemoveField("trip", "purpose", renamed_to="reason")'
            ),
        ),
        columns={"purpose": None, "reason": "'fair'"},
    ),
    "blocker": Change(
        "add a field behind a reader of 20 s",
        ADD_NULLABLE,
        columns={"kind": "NULL"},
        blocked=True,
    ),
    "autovacuum": Change(
        "add a field beside an autovacuum",
        ADD_NULLABLE,
        columns={"kind": "NULL"},
        vacuumed=True,
        granted=True,
    ),
    "autovacuum_ungranted": Change(
        "the same, deadlock_timeout not granted",
        {OURS: ADD_NULLABLE[OURS]},
        columns={"kind": "NULL"},
        vacuumed=True,
    ),
}
if hasattr(deploy_ops.phases, "ChangeTypeOnline"):
    CHANGES["change_type"] = Change(
        "int to bigint",
        _written(
            f"migrations.AlterField({CUSTOMER})",
            f"phases.ChangeTypeOnline({CUSTOMER})",
            Written(
                'migrations.AddField("trip", "customer_big", models.BigIntegerField(null=True)),'
                f'deferred.InstallColumnSync("trip", "customer", "customer_big", {SAME})',
                atomic=True,
            ),
            Written(
                'deferred.BackfillColumnSync("trip", "customer", "customer_big", "{from}"),'
                'deferred.SetNotNull("trip", "customer_big", models.BigIntegerField()),'
                'deferred.DeferredRemoveField("trip", "customer", renamed_to="customer_big")'
            ),
        ),
        # The peer cannot keep the name of the field.
        columns_of={DEFERRED: {"customer": None, "customer_big": "7"}},
    )
