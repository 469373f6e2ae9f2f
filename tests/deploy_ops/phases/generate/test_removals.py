"""What goes out of the models stays in the database until the contract phase."""

from tests.deploy_ops.phases.generate.stories import on_15

START = """
class Customer(models.Model):
    name = models.CharField(max_length=50)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    note = models.CharField(max_length=50)
    pieces = models.IntegerField(default=1)

    class Meta:
        indexes = [models.Index(fields=["pieces"], name="order_pieces")]
        constraints = [models.UniqueConstraint(fields=["pieces"], name="order_once")]


class Line(models.Model):
    order = models.ForeignKey(Order, models.CASCADE)
    before = models.ForeignKey("Line", models.CASCADE, null=True)
    payers = models.ManyToManyField(Customer)
"""


def test_a_field(shop, database):
    shop.start(START)
    written = shop.ends_as_django(START.replace("    note = models.CharField(max_length=50)\n", ""))
    [(name, text)] = written.items()
    assert name == "0002_remove_order_note"
    assert "deploy_ops.phases.Contract(" in text and "'deploy_ops', '0002_contract_rows'" in text
    assert "note" not in database.schema()["shop_order"]


@on_15
def test_models_with_the_foreign_keys_to_them(shop, database):
    shop.start(START)
    end = """
    class Line(models.Model):
        pass
    """
    written = shop.ends_as_django(end)
    names = {name[5:] for name in written}
    assert {"delete_customer", "delete_order"} < names  # Django's order of the rest varies
    assert all("Contract(" in text for text in written.values())
    # Django 6 would remove these first, and each would wait for itself.
    assert not any("RemoveIndex" in text or "RemoveConstraint" in text for text in written.values())
    assert "shop_order" not in database.schema()
