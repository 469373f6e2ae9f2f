"""Contract(RenameModel): the table has its new name, and old code a view under the one it knows."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import DatabaseError, migrations, models, transaction
from django.db.models import Count, F, Subquery

from deploy_ops.errors import NotOnline
from deploy_ops.phases import ChangeTypeOnline, Contract
from deploy_ops.phases.rows import waiting_rows
from tests.deploy_ops.phases.bench import APP, PACKAGE, Bench, create, recorded
from tests.project.both_codes import failures_of
from tests.sample_apps.written import WrittenApp

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
BOTH = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
GIVEN = [
    create("tag"),
    create(
        "order",
        ("note", models.CharField(max_length=20, null=True)),
        ("code", models.CharField(max_length=20, unique=True)),
        ("pieces", models.PositiveIntegerField(db_default=7)),
        ("before", models.ForeignKey("self", models.CASCADE, null=True)),
        ("tags", models.ManyToManyField("shop.tag")),
        ("like", models.ManyToManyField("self")),
    ),
    create(
        "line",
        ("order", models.ForeignKey("shop.order", models.CASCADE, related_name="lines")),
        ("again", models.ForeignKey("shop.order", models.CASCADE, null=True, related_name="+")),
    ),
    create("special", ("order", models.OneToOneField("shop.order", models.CASCADE))),
]
ROWS = [
    "INSERT INTO shop_order (code) SELECT 'c' || n FROM generate_series(1, 9) AS n",
    "INSERT INTO shop_line (order_id) VALUES (1), (2)",
    "INSERT INTO shop_tag DEFAULT VALUES",
    "INSERT INTO shop_order_tags (order_id, tag_id) VALUES (1, 1)",
]
RENAME = migrations.RenameModel("Order", "Purchase")


@pytest.fixture
def alias(django_alias, settings):
    settings.MIGRATION_MODULES = {APP: PACKAGE}
    settings.DEPLOY_OPS_TWO_PHASE = True
    call_command("migrate", "deploy_ops", database=django_alias, verbosity=0)
    call_command("migrate", "contenttypes", database=django_alias, verbosity=0)
    return django_alias


def wanted(alias, given=GIVEN, rename=RENAME):
    bench = Bench(alias, given=given, schema="plain")
    at_first = bench.catalog()
    bench.try_out(rename, is_atomic=True)
    after = bench.catalog()
    bench.reverse(rename, is_atomic=True)
    assert bench.catalog() == at_first
    return at_first, after


def foreign_key_files(bench):
    return bench.sql("SELECT oid FROM pg_constraint WHERE contype = 'f' ORDER BY oid")


@BOTH
def test_ends_in_the_schema_of_djangos_own(alias):
    at_first, after = wanted(alias)
    bench = Bench(alias, given=GIVEN, before=ROWS)
    operation = Contract(RENAME)
    keys = foreign_key_files(bench)
    bench.try_out(operation, is_atomic=True)
    assert bench.catalog() == after  # views are not in it
    views = "SELECT viewname FROM pg_views WHERE schemaname = 'online' ORDER BY 1"
    names = [("shop_order",), ("shop_order_like",), ("shop_order_tags",)]
    assert bench.sql(views) == names
    assert foreign_key_files(bench) == keys  # none was made anew
    [row] = waiting_rows(bench.connection)
    assert row.table == "shop_purchase"
    states = bench.state, bench.after(operation)
    failed = [failures_of(each.apps, APP, alias) for each in states]
    assert failed == [[], []]

    bench.reverse(operation, is_atomic=True)
    assert bench.catalog() == at_first
    bench.try_out(operation)
    bench.try_out(operation)  # as after a kill of a migration without a transaction
    bench.contract(operation)
    assert bench.catalog() == after
    bench.contract(operation)
    bench.reverse(operation)
    assert bench.catalog() == at_first
    assert bench.sql("SELECT count(*) FROM shop_order_tags WHERE order_id = 1") == [(1,)]


@BOTH
def test_what_a_view_can_do_for_old_code_and_what_not(alias):
    bench = Bench(alias, given=GIVEN, before=ROWS)
    bench.try_out(Contract(RENAME), is_atomic=True)
    orders = bench.state.apps.get_model(APP, "order")._base_manager.using(alias)
    works = [
        lambda: list(orders.values("code").annotate(n=Count("lines"))),
        lambda: list(orders.select_for_update(of=("self",), skip_locked=True)),
        lambda: list(orders.select_related("before").filter(tags__id=1, lines__id=1)),
        lambda: list(orders.order_by("note").distinct("note")),
        lambda: list(orders.annotate(n=Subquery(orders.values("pk")[:1]))),
        lambda: orders.filter(pk=1).update(pieces=F("pieces") + 1),
        lambda: bench.sql("LOCK TABLE shop_order"),
    ]
    assert [failure(alias, act) for act in works] == [None] * len(works)
    fails = {
        "must appear in the GROUP BY": lambda: list(orders.annotate(n=Count("lines"))),
        "is not a table": lambda: bench.sql("TRUNCATE shop_order"),
        "cannot copy from view": lambda: bench.sql("COPY shop_order TO STDOUT"),
        '"ctid" does not exist': lambda: bench.sql("SELECT ctid FROM shop_order"),
        'constraint "shop_order_code_key"': lambda: bench.sql(
            "INSERT INTO shop_order (code) VALUES (1)"
            " ON CONFLICT ON CONSTRAINT shop_order_code_key DO NOTHING"
        ),
    }
    for said, act in fails.items():
        assert said in failure(alias, act)
    assert bench.sql("SELECT pg_get_serial_sequence('shop_order', 'id')") == [(None,)]


def failure(alias, act):
    try:
        with transaction.atomic(alias):
            act()
    except DatabaseError as error:
        return str(error)
    return None


@PG15
def test_goes_on_after_a_kill_at_any_statement(alias):
    given = [create("order", ("friends", models.ManyToManyField("self")))]
    at_first, after = wanted(alias, given)
    operation = Contract(RENAME)
    kills = 0
    while True:
        bench = Bench(alias, given=given)
        if not bench.killed_after(kills + 1, lambda: bench.try_out(operation)):
            break
        kills += 1
        assert bench.catalog() in (at_first, after)
        bench.try_out(operation)
        assert bench.catalog() == after
        assert len(waiting_rows(bench.connection)) == 1
    assert kills > 8


@PG15
def test_is_djangos_own_where_nobody_else_works(alias):
    at_first, after = wanted(alias)
    bench = Bench(alias, given=GIVEN, is_new=True)
    ContentType.objects.using(alias).create(app_label=APP, model="order")
    with recorded(bench.connection) as statements:
        bench.try_out(Contract(RENAME), is_atomic=True)
    assert bench.catalog() == after and not [each for each in statements if "VIEW" in each]
    assert content_types(alias) == ["purchase"]
    bench.reverse(Contract(RENAME), is_atomic=True)
    assert bench.catalog() == at_first
    assert content_types(alias) == ["order"]


def test_is_djangos_own_on_sqlite(sqlite_project):
    app = WrittenApp(sqlite_project.directory)
    app.migration(
        "0001_initial",
        'migrations.CreateModel("order", [("id", models.AutoField(primary_key=True))]),',
    )
    app.migration("0002_rename", 'Contract(migrations.RenameModel("Order", "Purchase")),')
    sqlite_project.with_apps(app.name).run("migrate", "shop", check=0)
    tables = "SELECT name FROM sqlite_master WHERE name LIKE 'shop_%'"
    assert sqlite_project.database.query(tables) == [("shop_purchase",)]
    sqlite_project.run("migrate", "shop", "0001", check=0)
    assert sqlite_project.database.query(tables) == [("shop_order",)]


@PG15
def test_nothing_is_renamed_where_the_table_is_kept(alias):
    given = [
        create("order", ("note", models.TextField()), db_table="Orders"),
        create("line", ("order", models.ForeignKey("shop.order", models.CASCADE))),
    ]
    at_first, after = wanted(alias, given)
    assert at_first == after
    bench = Bench(alias, given=given)
    ContentType.objects.using(alias).create(app_label=APP, model="order")
    with recorded(bench.connection) as statements:
        bench.try_out(Contract(RENAME), is_atomic=True)
    [update] = [each for each in statements if "django_content_type" in each]
    assert [each for each in statements if "ALTER" in each or "VIEW" in each] == []
    assert bench.catalog() == after and waiting_rows(bench.connection) == []
    assert content_types(alias) == ["purchase"]


def content_types(alias):
    ContentType.objects.clear_cache()
    found = ContentType.objects.using(alias).filter(app_label=APP)
    return sorted(found.values_list("model", flat=True))


@PG15
def test_both_codes_have_a_content_type_and_what_old_code_wrote_is_taken_over(alias):
    call_command("migrate", "auth", database=alias, verbosity=0)
    call_command("migrate", "admin", database=alias, verbosity=0)
    bench = Bench(alias, given=GIVEN)
    types = ContentType.objects.using(alias)
    first = types.create(app_label=APP, model="order")
    user = User.objects.using(alias).create(username="anna")
    operation = Contract(RENAME)

    def note(type_):
        LogEntry.objects.using(alias).create(user=user, content_type=type_, action_flag=1)

    note(first)
    for end in (bench.contract, bench.reverse):
        bench.try_out(operation, is_atomic=True)
        assert content_types(alias) == ["purchase"]
        second, is_new = types.get_or_create(app_label=APP, model="order")  # as old code does
        note(second)
        assert is_new and second.pk != first.pk
        end(operation)
        [left] = types.filter(app_label=APP)
        assert left.pk == first.pk
        assert set(LogEntry.objects.using(alias).values_list("content_type", flat=True)) == {
            left.pk
        }
        if end == bench.contract:
            bench.reverse(operation)
    assert content_types(alias) == ["order"]

    bench.try_out(operation, is_atomic=True)
    second, _ = types.get_or_create(app_label=APP, model="order")
    for each in (first, second):
        Permission.objects.using(alias).create(content_type=each, codename="add_order", name="add")
    bench.contract(operation)  # a permission that both have is left to remove_stale_contenttypes
    assert content_types(alias) == ["order", "purchase"]


@PG15
def test_the_view_has_the_grants_of_the_table(alias, database):
    database.cluster.create_role("reader")
    bench = Bench(
        alias,
        given=GIVEN,
        before=[
            *ROWS,
            "GRANT USAGE ON SCHEMA online TO reader",
            "GRANT SELECT, INSERT ON shop_order TO reader",
            "GRANT UPDATE (note) ON shop_order TO reader",
        ],
    )
    bench.try_out(Contract(RENAME), is_atomic=True)
    privileges = (
        "SELECT has_table_privilege('reader', 'shop_order', each) FROM unnest(ARRAY['SELECT',"
        " 'INSERT', 'UPDATE', 'DELETE']) AS each"
    )
    assert bench.sql(privileges) == [(True,), (True,), (False,), (False,)]
    columns = "SELECT has_column_privilege('reader', 'shop_order', each, 'UPDATE') FROM unnest(ARRAY['note', 'code']) AS each"
    assert bench.sql(columns) == [(True,), (False,)]
    database.cluster.execute("DROP OWNED BY reader", dbname=database.name)
    database.cluster.execute("DROP ROLE reader")


@PG15
def test_a_many_to_many_table_that_keeps_its_name_is_refused(alias):
    given = [create("order"), create("shelf", ("orders", models.ManyToManyField("shop.order")))]
    bench = Bench(alias, given=given)
    before = bench.catalog()
    with pytest.raises(NotOnline, match="shop_shelf_orders .order_id to purchase_id"):
        bench.try_out(Contract(RENAME), is_atomic=True)
    assert bench.catalog() == before


@PG15
def test_a_name_that_a_view_still_has_is_refused(alias):
    bench = Bench(alias, given=GIVEN)
    bench.apply(Contract(RENAME), is_atomic=True)
    with pytest.raises(NotOnline, match="is a view that waits for the contract phase"):
        bench.try_out(Contract(migrations.RenameModel("Purchase", "Order")), is_atomic=True)
    with pytest.raises(NotOnline, match="Run the contract phase first"):
        bench.try_out(
            ChangeTypeOnline("purchase", "pieces", models.PositiveBigIntegerField(db_default=7))
        )


def test_the_view_goes_before_the_columns_that_it_has(postgresql_project):
    project, database = postgresql_project, postgresql_project.database
    app = WrittenApp(project.directory)
    app.migration(
        "0001_initial",
        """migrations.CreateModel("order", [
            ("id", models.BigAutoField(primary_key=True)),
            ("note", models.TextField(null=True)),
            ("pieces", models.IntegerField(null=True)),
        ]),""",
    )
    project.with_apps(app.name).settings(DEPLOY_OPS_TWO_PHASE=True)
    project.run("safe_migrate", "--no-backup", check=0)
    app.migration("0002_field", 'RenameFieldOnline("order", "note", "remark"),', atomic=False)
    app.migration("0003_pieces", 'Contract(migrations.RemoveField("order", "pieces")),')
    app.migration("0004_model", 'Contract(migrations.RenameModel("Order", "Purchase")),')
    project.run("safe_migrate", "--no-backup", check=0)
    database.execute("INSERT INTO shop_order (note, pieces) VALUES ('old', 1)")
    database.execute("INSERT INTO shop_purchase (remark) VALUES ('new')")
    assert database.query("SELECT remark FROM shop_purchase ORDER BY id") == [("old",), ("new",)]
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert database.query("SELECT * FROM shop_purchase") == [(1, "old"), (2, "new")]
    left = "SELECT count(*) FROM pg_views WHERE viewname LIKE 'shop_%'"
    assert database.query(left) == [(0,)]


@PG15
def test_sqlmigrate_shows_both_halves(alias):
    bench = Bench(alias, given=GIVEN)
    text = "\n".join(bench.collect(Contract(RENAME)))
    now, _, later = text.partition("-- waits for the contract phase:")
    assert 'ALTER TABLE "shop_order" RENAME TO "shop_purchase"' in now
    assert 'CREATE VIEW "shop_order" WITH (security_invoker = true)' in now
    assert '"purchase_id" AS "order_id"' in now
    assert 'DROP VIEW "shop_order"' in later
