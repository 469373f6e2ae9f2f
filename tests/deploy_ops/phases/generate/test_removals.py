"""What goes out of the models stays in the database until the contract phase."""

START = """
class Customer(models.Model):
    name = models.CharField(max_length=50)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    note = models.CharField(max_length=50)
    pieces = models.IntegerField(default=1)
"""


def test_a_field(shop, database):
    shop.start(START)
    written = shop.ends_as_django(START.replace("    note = models.CharField(max_length=50)\n", ""))
    [name] = written
    assert name == "0002_remove_order_note"
    assert "deploy_ops.phases.Contract(" in written[name]
    assert '"0002_contract_rows"' in written[name].replace("'", '"')
    assert "note" not in database.schema()["shop_order"]
