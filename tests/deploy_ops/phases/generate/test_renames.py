"""Renaming: a field has both names for a while; a model keeps its table."""

import pytest

from tests.deploy_ops.phases.generate.stories import on_15

START = """
class Order(models.Model):
    note = models.CharField(max_length=50, unique=True)
    pieces = models.IntegerField(default=1)
"""


@on_15
def test_a_field(shop):
    shop.start(START)
    [(name, text)] = shop.ends_as_django(START.replace("note", "remark"), answers="y\n").items()
    assert name == "0002_rename_note_order_remark"
    assert "RenameFieldOnline" in text and "    atomic = False\n" in text


def test_a_field_that_keeps_its_column(sqlite_shop):
    sqlite_shop.start(START)
    end = START.replace("note", "remark").replace("unique", 'db_column="note", unique')
    [text] = sqlite_shop.change(end, answers="y\n").values()
    assert "migrations.RenameField" in text and "deploy_ops" not in text


@on_15
def test_a_model_that_keeps_its_table(shop):
    referring = """
class Line(models.Model):
    order = models.ForeignKey("{}", models.CASCADE)
"""
    shop.start(START + referring.format("Order"))
    schema = shop.schema()
    renamed = START.replace("Order", "Purchase")
    end = f'{renamed}\n    class Meta:\n        db_table = "shop_order"\n'
    [text] = shop.change(end + referring.format("Purchase"), answers="y\n").values()
    assert text.index("AlterModelTable") < text.index("RenameModel")
    shop.apply()
    shop.assert_schema(schema)
    shop.run("migrate", "shop", "0001")
    shop.assert_schema(schema)


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_a_model_that_gets_another_table(shop):
    rest = """
    tags = models.ManyToManyField("Tag")


class Tag(models.Model):
    pass


class Line(models.Model):
    order = models.ForeignKey("Order", models.CASCADE)
"""
    shop.start(START + rest)
    end = (START + rest).replace("Order", "Purchase")
    [(name, text)] = shop.ends_as_django(end, answers="y\n").items()
    assert name == "0002_rename_order_purchase"
    assert "deploy_ops.phases.Contract(" in text and "RenameModel" in text
