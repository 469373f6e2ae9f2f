"""Random plans: migrations that follow from each other, what fails in them, and what others do."""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.drills.random_plans.deeds import ANYWHERE, ON_POSTGRESQL, Deed

OLD_TEXT = 'models.CharField(max_length=40, default="")'


@dataclass(frozen=True)
class Operation:
    """One operation as it stands in the file; `destroys` names the homes whose rows it takes."""

    source: str
    destroys: tuple[str, ...] = ()
    batches: int = 0


@dataclass(frozen=True)
class Migration:
    """One file."""

    number: int
    atomic: bool
    operations: tuple[Operation, ...]

    @property
    def name(self) -> str:
        """As in django_migrations."""
        return f"{self.number:04}_step"


@dataclass(frozen=True)
class Failure:
    """What strikes at a point: each time, or only once."""

    point: str
    kind: str
    once: bool


@dataclass(frozen=True)
class Plan:
    """Everything that is random in a run."""

    vendor: str
    migrations: tuple[Migration, ...]
    failures: tuple[Failure, ...]
    deeds: tuple[Deed, ...]
    has_idler: bool
    options: tuple[str, ...]
    way_out: str


@dataclass
class Models:
    """What is there when the next operation is drawn."""

    vendor: str
    atomic: bool = True
    count: int = 0
    purpose: str = "purpose"
    added: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    has_receipt: bool = True
    has_cost: bool = True
    columns: list[str] = field(default_factory=list)  # every one that ever was added, for deeds
    new_tables: list[str] = field(default_factory=list)

    def next(self) -> int:
        """A number for a new name."""
        self.count += 1
        return self.count


def text_field(**options: object) -> str:
    """A CharField as source."""
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return f"models.CharField(max_length=40, {given})"


def add_field(draw, models: Models, point: str) -> Operation:
    name = f"f{models.next()}"
    models.added.append(name)
    models.columns.append(name)
    how = draw(st.sampled_from([{"null": True}, {"default": "d"}, {"null": True, "unique": True}]))
    source = f'migrations.AddField("trip", "{name}", {text_field(**how)})'
    if draw(st.booleans()) and draw(st.booleans()):
        source = f"migrations.SeparateDatabaseAndState([{source}], [{source}])"
    return Operation(source)


def create_model(draw, models: Models, point: str) -> Operation:
    number = models.next()
    models.tables.append(f"M{number}")
    models.new_tables.append(f"plan_m{number}")
    fields = '[("id", models.BigAutoField(primary_key=True)), ("text", models.TextField())]'
    return Operation(f'migrations.CreateModel("M{number}", {fields})')


def fill_model(draw, models: Models, point: str) -> Operation | None:
    if not models.tables:
        return None
    table = f"plan_{models.tables[-1].lower()}"
    insert = f"INSERT INTO {table} (id, text) VALUES ({models.next()}, 'filled')"
    back = draw(st.sampled_from([f'run_sql("DELETE FROM {table}")', "lie", "lie"]))
    return Operation(f'migrations.RunPython(run_sql("{insert}"), {back})')


def add_index(draw, models: Models, point: str) -> Operation:
    number = models.next()
    index = f'models.Index(fields=["km"], name="plan_ix_{number}")'
    if models.vendor == "postgresql" and not models.atomic and draw(st.booleans()):
        source = f'operations.AddIndexConcurrently("trip", {index})'
        return Operation(source)
    return Operation(f'migrations.AddIndex("trip", {index})')


def alter_text(draw, models: Models, point: str) -> Operation:
    length = draw(st.sampled_from([80, 60, 20]))
    null = draw(st.booleans())
    source = f'models.CharField(max_length={length}, default="", null={null})'
    return Operation(f'migrations.AlterField("trip", "{models.purpose}", {source})')


def alter_decimal(draw, models: Models, point: str) -> Operation | None:
    if not models.has_cost:
        return None
    digits, places = draw(st.sampled_from([(8, 4), (8, 2), (5, 1), (6, 2)]))
    source = f"models.DecimalField(max_digits={digits}, decimal_places={places}, default=0)"
    return Operation(f'migrations.AlterField("trip", "cost", {source})')


def remove_field(draw, models: Models, point: str) -> Operation | None:
    names = models.added + ["cost"] * models.has_cost
    if not names:
        return None
    name = draw(st.sampled_from(names))
    if name == "cost":
        models.has_cost = False
    else:
        models.added.remove(name)
    source = f'migrations.RemoveField("trip", "{name}")'
    if draw(st.booleans()) and draw(st.booleans()):
        source = f"migrations.SeparateDatabaseAndState([{source}], [{source}])"
    return Operation(source, destroys=(name,))


def delete_model(draw, models: Models, point: str) -> Operation | None:
    if models.tables and draw(st.booleans()):
        name = models.tables.pop()
        return Operation(f'migrations.DeleteModel("{name}")', destroys=(f"plan_{name.lower()}",))
    if not models.has_receipt:
        return None
    models.has_receipt = False
    return Operation('migrations.DeleteModel("Receipt")', destroys=("plan_receipt",))


def rename_field(draw, models: Models, point: str) -> Operation:
    old, models.purpose = models.purpose, f"purpose{models.next()}"
    return Operation(f'migrations.RenameField("trip", "{old}", "{models.purpose}")')


def multiply(draw, models: Models, point: str) -> Operation:
    factor = draw(st.sampled_from([2, 3]))
    divide = f'run_sql("UPDATE plan_trip SET km = km / {factor}")'
    back = draw(st.sampled_from([divide, "lie", "migrations.RunPython.noop", "None"]))
    code = f'multiply("{point}", {factor}, in_blocks={draw(st.booleans())})'
    return Operation(f"migrations.RunPython({code}, {back})", batches=3)


def run_sql(draw, models: Models, point: str) -> Operation | None:
    number = models.next()
    receipts = "DELETE FROM plan_receipt" if models.has_receipt else "DELETE FROM plan_side"
    truncate = "TRUNCATE plan_side" if models.vendor == "postgresql" else "DELETE FROM plan_side"
    update = "UPDATE plan_trip SET km = km + 1"
    table = f"CREATE TABLE raw_{number} AS SELECT 1 AS x"
    sql, destroys = draw(
        st.sampled_from(
            [
                (receipts, ("plan_receipt", "plan_side")),
                (truncate, ("plan_side",)),
                (update, ()),
                (f"UPDATE plan_trip SET {models.purpose} = 'new'", ("plan_trip",)),
                (table, ()),
                (f"BEGIN; {update}; COMMIT;", ()),
                (f"{update}; COMMIT;", ()),
                (f"COMMIT; {update}; BEGIN;", ()),
            ]
        )
    )
    honest = f"DROP TABLE raw_{number}" if sql == table else "UPDATE plan_trip SET km = km - 1"
    back = draw(st.sampled_from([f'"{honest}"', "migrations.RunSQL.noop", "None"]))
    return Operation(f'migrations.RunSQL("{sql}", {back})', destroys=destroys)


KINDS = [add_field, add_field, create_model, fill_model, add_index, alter_text, alter_decimal]
KINDS += [remove_field, delete_model, rename_field, multiply, multiply, run_sql, run_sql]
ALWAYS = ["raise", "raise", "sql_error", "violation", "deferred", "exit", "term"]
ONCE = ["kill", "kill", "term", "lock"]
JOURNAL = ["started", "backup_started", "backed_up", "migration_started", "migration_applied"]
JOURNAL += ["migration_failed", "restore_started", "restored_beside", "swap_started", "swapped"]
JOURNAL += [
    "recovered",
    "finished",
    "migration_retried",
    "invalid_index_dropped",
    "transaction_left",
]


@st.composite
def migrations(draw, models: Models, number: int) -> Migration:
    """The next migration."""
    models.atomic = draw(st.sampled_from([True, True, False]))
    operations: list[Operation] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(KINDS))
        operation = kind(draw, models, f"m{number}.o{len(operations)}")
        if operation is not None:
            operations.append(operation)
    if not operations:
        operations.append(add_field(draw, models, f"m{number}.o0"))
    return Migration(number, models.atomic, tuple(operations))


def points_of(plan: list[Migration]) -> list[str]:
    """Points between and in the operations."""
    found = []
    for migration in plan:
        for index, operation in enumerate(migration.operations):
            prefix = f"m{migration.number}.o{index}"
            found += [f"{prefix}.before", f"{prefix}.after"]
            found += [f"{prefix}.batch{n}" for n in range(operation.batches)]
    return found


@st.composite
def plans(draw, vendor: str) -> Plan:
    """Everything random of one run."""
    models = Models(vendor)
    steps = [draw(migrations(models, n)) for n in range(2, 2 + draw(st.integers(1, 4)))]
    points = points_of(steps)
    journal = st.builds(
        "journal.{}.{}.{}".format,
        st.sampled_from(JOURNAL),
        st.sampled_from([1, 1, 1, 2]),
        st.sampled_from(["before", "after"]),
    )
    back = st.sampled_from(points).map(lambda point: point.replace(".before", ".back_before"))
    anywhere = st.one_of(st.sampled_from(points), st.sampled_from(points), journal, back)
    options = [(), (), (), (), ("--no-backup",)]
    options += [("--exclusive",)] * (vendor == "postgresql")
    if all(step.atomic for step in steps):
        options.append(("--single-transaction",))
    return Plan(
        vendor=vendor,
        migrations=tuple(steps),
        failures=tuple(draw(failures(vendor, points, journal))),
        deeds=tuple(draw(deeds(vendor, models, anywhere))),
        has_idler=draw(st.booleans()) and draw(st.booleans()),
        options=draw(st.sampled_from(options)),
        way_out=draw(st.sampled_from(["safe_migrate", "restore", "backups"])),
    )


@st.composite
def failures(draw, vendor: str, points: list[str], journal) -> list[Failure]:
    """None, one, or one and a kill while that is dealt with."""
    always, once = list(ALWAYS), list(ONCE)
    if vendor == "postgresql":
        always, once = [*always, "terminate"], [*once, "terminate"]
    found = []
    # Late ones more often: what is committed before them is what makes it hard.
    late = st.sampled_from(points[len(points) // 2 :])
    where = st.one_of(late, st.sampled_from(points))
    how_many = draw(st.sampled_from([0, 1, 1, 1, 1, 1, 2, 2]))
    if how_many:
        is_once = draw(st.booleans())
        kind = draw(st.sampled_from(once if is_once else always))
        found.append(Failure(draw(where), kind, is_once))
    if how_many == 2:
        point = draw(journal) if draw(st.booleans()) else draw(where)
        found.append(Failure(point, draw(st.sampled_from(["kill", "kill", "term"])), True))
    return found


@st.composite
def deeds(draw, vendor: str, models: Models, anywhere) -> list[Deed]:
    """What others do; often nothing, so that every rung of the ladder is reached."""
    kinds = [(kind, "") for kind in ANYWHERE + ON_POSTGRESQL * (vendor == "postgresql")]
    kinds += [("trip_insert", "")] * 4 + [("open_insert", "")] * (vendor == "postgresql")
    kinds += [("new_row", table) for table in models.new_tables] * 3
    kinds += [("new_value", column) for column in models.columns] * 3
    count = draw(st.sampled_from([0, 1, 1, 1, 2, 4, 0, 2]))
    found = []
    for number in range(1, count + 1):
        kind, target = draw(st.sampled_from(kinds))
        found.append(Deed(number, draw(anywhere), kind, target))
    return found
