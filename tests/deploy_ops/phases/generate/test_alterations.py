"""Fields that change: what loosens at once, then what is enforced, one thing at a time."""

import pytest

from tests.deploy_ops.phases.generate.stories import on_15

START = """
class Customer(models.Model):
    name = models.CharField(max_length=50)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    payer = models.ForeignKey(
        Customer, models.CASCADE, db_constraint=False, null=True, related_name="paid"
    )
    seller = models.ForeignKey(Customer, models.CASCADE, null=True, related_name="sold")
    note = models.CharField(max_length=50, null=True)
    code = models.CharField(max_length=20)
    mark = models.CharField(max_length=20)
    number = models.IntegerField(unique=True)
    rank = models.PositiveIntegerField(default=3)
    price = models.DecimalField(max_digits=8, decimal_places=2, db_default=7)
    token = models.UUIDField(null=True)
    at = models.DateTimeField(null=True)

    class Meta:
        unique_together = [("note", "rank")]
        indexes = [models.Index(fields=["note", "code"], name="by_note")]
        constraints = [
            models.CheckConstraint(condition=models.Q(rank__lt=1000), name="few"),
            models.UniqueConstraint(fields=["code", "note"], name="one"),
        ]
"""
END = """
class Customer(models.Model):
    name = models.TextField()


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, null=True)
    payer = models.ForeignKey(Customer, models.CASCADE, null=True, related_name="paid")
    seller = models.ForeignKey(Customer, models.CASCADE, default=1, related_name="sold")
    note = models.CharField(max_length=80, default="none")
    code = models.CharField(max_length=20, unique=True, verbose_name="the code")
    mark = models.CharField(max_length=20, db_index=True)
    number = models.IntegerField()
    rank = models.IntegerField(default=3)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    token = models.UUIDField(default=uuid.uuid4)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        unique_together = [("note", "number")]
"""
NAMES = [
    "0002_remove_order_few_remove_order_one",
    "0003_remove_order_by_note",
    "0004_alter_order_unique_together",
    "0005_alter_customer_name",
    "0006_order_at_not_null",
    "0007_order_code_unique",
    "0008_alter_order_customer",
    "0009_order_customer_foreign_key",
    "0010_order_mark_index",
    "0011_alter_order_note",
    "0012_order_note_not_null",
    "0013_alter_order_number",
    "0014_order_payer_foreign_key",
    "0015_alter_order_price_alter_order_price_alter_order_rank",
    "0016_order_seller_not_null",
    "0017_order_token_not_null",
    "0018_enforce_order_unique_together",
]


@on_15
def test_end_in_the_schema_of_django(shop):
    shop.start(START)
    written = shop.ends_as_django(END)
    assert list(written) == NAMES


def test_rows_of_old_code_have_values(shop, database):
    shop.start(START)
    database.execute("INSERT INTO shop_customer (name) VALUES ('Anna')")
    insert = (
        "INSERT INTO shop_order (customer_id, note, code, mark, number, rank, token)"
        " VALUES (1, NULL, {0}, '', {0}, {0}, NULL)"
    )
    for number in (1, 2):
        database.execute(insert.format(number))
    shop.change(END)
    shop.expand()
    if database.vendor == "postgresql":  # elsewhere both phases ran at once
        database.execute(insert.format(3))
    shop.contract()
    count = 3 if database.vendor == "postgresql" else 2
    counts = "SELECT count(*), count(DISTINCT token), count(at) FROM shop_order"
    assert database.query(f"{counts} WHERE note = 'none' AND seller_id = 1") == [(count,) * 3]


def test_null_that_was_handled_is_not_filled(sqlite_shop):
    sqlite_shop.start(START)
    end = START.replace(
        "note = models.CharField(max_length=50, null=True)",
        "note = models.CharField(max_length=50)",
    )
    [text] = sqlite_shop.change(end, answers="2\n").values()
    assert "EnforceNotNull" in text and "default" not in text


def test_what_the_database_does_not_know_is_plain(sqlite_shop):
    sqlite_shop.start(START)
    end = START.replace(
        "at = models.DateTimeField(null=True", "at = models.DateTimeField(null=True, blank=True"
    )
    [text] = sqlite_shop.change(end).values()
    assert "migrations.AlterField" in text and "deploy_ops" not in text


TYPES = """
class Order(models.Model):
    note = models.CharField(max_length=50, db_index=True)
    pieces = models.IntegerField(null=True)
    price = models.DecimalField(max_digits=10, decimal_places=4, db_default=7)
    total = models.CharField(max_length=9)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(pieces__lt=9), name="few")]
"""
OTHER_TYPES = """
class Order(models.Model):
    note = models.TextField(db_index=True)
    pieces = models.BigIntegerField(default=1)
    price = models.DecimalField(max_digits=8, decimal_places=2, db_default=7)
    total = models.IntegerField(db_column="total_new")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(pieces__lt=9), name="few")]
"""


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_types_that_change(shop):
    shop.start(TYPES)
    written = shop.ends_as_django(OTHER_TYPES)
    assert list(written) == [
        "0002_order_note_type",
        "0003_order_pieces_type",
        "0004_order_pieces_not_null",
        "0005_order_price_type",
        "0006_order_total_type",
    ]
