"""New fields, indexes, constraints and tables: nobody waits, and old code inserts without them."""

from tests.deploy_ops.phases.generate.stories import on_15

CUSTOMER = """
class Customer(models.Model):
    name = models.CharField(max_length=50)
"""
ORDER = """
class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, null=True)
    note = models.CharField(max_length=50, null=True)
    pieces = models.IntegerField(default=1)
"""
START = f"{CUSTOMER}\n{ORDER}"
END = f"""
{CUSTOMER}


class Tag(models.Model):
    word = models.CharField(max_length=20, unique=True)
    customer = models.ForeignKey(Customer, models.CASCADE)

{ORDER}
    plain = models.TextField(null=True)
    settled = models.BooleanField(db_default=False)
    state = models.CharField(max_length=10, default="new")
    text = models.TextField(blank=True)
    rank = models.PositiveIntegerField(default=3)
    number = models.IntegerField(null=True, unique=True)
    payer = models.ForeignKey(Customer, models.CASCADE, null=True, related_name="paid")
    token = models.UUIDField(default=uuid.uuid4, unique=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)
    changed = models.DateTimeField(auto_now=True)
    tags = models.ManyToManyField(Tag)

    class Meta:
        indexes = [models.Index(fields=["note", "state"], name="by_note")]
        constraints = [
            models.CheckConstraint(condition=models.Q(pieces__gt=0), name="some"),
            models.UniqueConstraint(fields=["token", "pieces"], name="one"),
        ]
"""
NAMES = [
    "0002_add_order_at",
    "0003_order_at_not_null",
    "0004_add_order_changed",
    "0005_add_order_number",
    "0006_add_order_payer",
    "0007_order_plain",
    "0008_add_order_rank",
    "0009_order_settled",
    "0010_add_order_state",
    "0011_add_order_text",
    "0012_add_order_token",
    "0013_order_token_not_null",
    "0014_order_token_unique",
    "0015_tag",
    "0016_add_order_tags",
    "0017_order_by_note",
    "0018_enforce_order_some",
    "0019_enforce_order_one",
]
ROWS = "INSERT INTO shop_order (note, pieces) VALUES ('a', 1), ('b', 2)"


@on_15
def test_end_in_the_schema_of_django(shop):
    shop.start(START)
    written = shop.ends_as_django(END)
    assert list(written) == NAMES
    plain = [name for name, text in written.items() if "    atomic = False\n" not in text]
    assert plain == ["0007_order_plain", "0009_order_settled", "0015_tag"]


def test_rows_of_old_code_have_values(shop, database):
    shop.start(START)
    database.execute(ROWS)
    shop.change(END)
    shop.expand()
    if database.vendor == "postgresql":  # elsewhere both phases ran at once
        database.execute(ROWS)
    shop.contract()
    rows = "SELECT count(*), count(token), count(DISTINCT token), count(at) FROM shop_order"
    [counts] = database.query(f"{rows} WHERE state = 'new' AND text = '' AND rank = 3")
    count = 4 if database.vendor == "postgresql" else 2
    assert counts == (count, count, count, count)


@on_15
def test_a_default_of_the_database_that_differs_by_row(shop, database):
    shop.start(START)
    database.execute(ROWS)
    written = shop.change(f"""{START}
    luck = models.FloatField(null=True, db_default=functions.Random())
    token = models.FloatField(db_default=functions.Random())
""")
    assert list(written) == [
        "0002_add_order_luck",
        "0003_alter_order_luck",
        "0004_fill_order_luck",
        "0005_add_order_token",
        "0006_order_token_not_null",
    ]
    shop.apply()
    counts = "SELECT count(DISTINCT luck), count(DISTINCT token) FROM shop_order"
    assert database.query(counts) == [(2, 2)]


def test_a_value_that_is_asked_for(sqlite_shop):
    sqlite_shop.start(START)
    [text] = sqlite_shop.change(
        f"{START}\n    weight = models.IntegerField()", answers="1\n17\n"
    ).values()
    assert "AddFieldOnline" in text and "default=17" in text and "preserve_default=False" in text


@on_15
def test_a_value_that_is_computed_from_another_column(shop, database):
    shop.start(START)
    database.execute(ROWS)
    answers = "1\nnonsense\nF('pieces') * 3\n"
    written = shop.change(f"{START}\n    weight = models.IntegerField()", answers=answers)
    assert list(written) == ["0002_add_order_weight", "0003_order_weight_not_null"]
    shop.expand()
    if database.vendor == "postgresql":  # elsewhere both phases ran at once
        database.execute(ROWS)
    shop.contract()
    assert database.query("SELECT count(*) FROM shop_order WHERE weight <> pieces * 3") == [(0,)]


def test_a_new_app_is_plain(sqlite_shop):
    sqlite_shop.app.models(END)
    sqlite_shop.run("make_two_phase", "shop", "--noinput")
    [(name, text)] = sqlite_shop.app.migrations().items()
    assert name == "0001_initial" and "deploy_ops" not in text
