"""What has no safe form is refused, with what to do instead; nothing is written."""

import pytest

START = """
class Customer(models.Model):
    name = models.CharField(max_length=50)


class Order(models.Model):
    note = models.CharField(max_length=50, null=True)
    pieces = models.IntegerField(default=1)
    tags = models.ManyToManyField(Customer)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["note"], name="one")]
"""
CHANGES = {
    "a type that neither code shares": ("models.IntegerField", "models.FloatField", "pieces_new"),
    "a key that others have": (
        "class Customer(models.Model):",
        "class Customer(models.Model):\n    id = models.SmallAutoField(primary_key=True)",
        "foreign keys",
    ),
    "another column": ("default=1)", "default=1, db_column='count')", "db_column='pieces'"),
    "a check on a column": (
        "models.IntegerField",
        "models.PositiveIntegerField",
        "CheckConstraint",
    ),
    "another table": (
        "    class Meta:",
        "    class Meta:\n        db_table = 'o'",
        "db_table = 'shop_order'",
    ),
    "a constraint that changes": ('["note"]', '["note", "pieces"]', "another name"),
    "a field renamed, and nobody asked": ("note", "remark", "without --noinput"),
    "a model renamed, and nobody asked": ("class Order", "class Purchase", "without --noinput"),
    "no value": ("    pieces =", "    weight = models.IntegerField()\n    pieces =", "default"),
    "no value for NULL": ("null=True", "null=False", "default"),
    "one value where it is unique": (
        "    pieces =",
        "    weight = models.IntegerField(default=1, unique=True)\n    pieces =",
        "null=True first",
    ),
    "a default that only Python can call": (
        "    pieces =",
        "    day = models.DateTimeField(default=datetime.datetime.now)\n    pieces =",
        "db_default",
    ),
    "a stored generated column": (
        "    pieces =",
        "    twice = models.GeneratedField(expression=models.F('pieces') * 2, "
        "output_field=models.IntegerField(), db_persist=True)\n    pieces =",
        "rewrites the table",
    ),
    "the column of a field that goes": (
        "    pieces = models.IntegerField(default=1)",
        "    count = models.BigIntegerField(default=1, db_column='pieces')",
        "contract phase",
    ),
    "an order": (
        "    class Meta:",
        "    owner = models.ForeignKey(Customer, models.CASCADE, null=True, related_name='owned')\n"
        "    class Meta:\n        order_with_respect_to = 'owner'",
        "AlterOrderWithRespectTo",
    ),
}


@pytest.fixture
def started(sqlite_shop):
    sqlite_shop.start(START)
    return sqlite_shop


def test_each(started):
    for name, (old, new, said) in CHANGES.items():
        assert START.replace(old, new) != START
        message = started.refuse(START.replace(old, new))
        assert said in message and "Nothing was written." in message, (name, message)


def test_a_computed_value_of_a_column_that_is_not_there(started):
    started.app.models(
        START.replace("    pieces =", "    weight = models.IntegerField()\n    pieces =")
    )
    result = started.run("make_two_phase", "shop", input="1\nF('piece') * 2\n", check=1)
    assert "Cannot resolve keyword 'piece'" in result.stderr
    assert list(started.app.migrations()) == ["0001_initial"]


def test_a_model_whose_name_is_in_the_table_of_another(started):
    end = START.replace("class Customer", "class Client").replace("Customer", "Client")
    started.app.models(end)
    result = started.run("make_two_phase", "shop", input="y\n", check=1)
    assert "has the model's name" in result.stderr


def test_check_and_dry_run_write_nothing(started):
    started.run("make_two_phase", "--check")
    end = START.replace("pieces = models.IntegerField(default=1)", "")
    started.app.models(end)
    before = started.app.migrations()
    started.run("make_two_phase", "--check", check=1)
    shown = started.run("make_two_phase", "--dry-run", "-v", "3").stdout
    assert "deploy_ops.phases.Contract(" in shown and "0002_remove_order_pieces" in shown
    assert started.app.migrations() == before
    files = started.project.json("make_two_phase", "--name", "less")["files"]
    assert [each.rpartition("/")[2] for each in files] == ["0002_less.py"]


def test_an_unknown_app_and_a_question_that_is_not_answered(started):
    started.run("make_two_phase", "shopp", check=2)
    started.app.models(
        START.replace("    pieces =", "    weight = models.IntegerField()\n    pieces =")
    )
    started.run("make_two_phase", "shop", input="2\n", check=1)
    assert list(started.app.migrations()) == ["0001_initial"]
