"""Migrations on disk that no database has applied are rewritten, and nothing of them is lost."""

import json
import stat

import pytest

from tests.conftest import POSTGRESQL
from tests.deploy_ops.phases.generate.stories import on_15

START = """
class Customer(models.Model):
    name = models.CharField(max_length=50)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, null=True)
    note = models.CharField(max_length=50, null=True)
    pieces = models.IntegerField(default=1)
"""
END = """
class Customer(models.Model):
    name = models.CharField(max_length=50, db_index=True)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, null=True)
    pieces = models.IntegerField(default=1)
    weight = models.IntegerField()
    token = models.UUIDField(default=uuid.uuid4)
"""
BY_HAND = '''# What Anna wrote.
"""Weights."""

from django.db import migrations, models

GRAMS = 3  # of one piece


# Only for the audit.
def audit(apps, schema_editor):
    """Look."""


# A piece weighs as much.
def weigh(apps, schema_editor):
    order = apps.get_model("shop", "Order")
    order.objects.update(weight=models.F("pieces") * GRAMS)


class Migration(migrations.Migration):
    """By hand."""

    dependencies = [
        ("shop", "0001_initial"),  # the first
    ]

    operations = [
        # first comes the column
        migrations.AddField("order", "weight", models.IntegerField(null=True)),  # in grams
        migrations.RunPython(weigh, migrations.RunPython.noop),
        migrations.AlterField(
            "order",
            "weight",
            # everybody has one now
            models.IntegerField(),
        ),
        migrations.RunPython(audit, migrations.RunPython.noop),  # at last
        # the end
    ]
'''
COMMENTS = [line.partition("#")[2] for line in BY_HAND.splitlines() if "#" in line]


@pytest.fixture
def started(sqlite_shop):
    sqlite_shop.start(START)
    return sqlite_shop


def write(shop, name, text):
    path = shop.app.migrations_dir / f"{name}.py"
    path.write_bytes(text.encode())
    return path


def fix(shop, *argv, **options):
    return shop.run("make_two_phase", "--fix", *argv, **options)


def with_weight(shop):
    shop.app.models(
        START.replace("default=1)", "default=1)\n    weight = models.IntegerField()"),
    )


@on_15
def test_what_makemigrations_wrote_ends_in_the_same_schema(shop):
    shop.start(START)
    start = shop.schema()
    shop.app.models(END)
    shop.run("makemigrations", "shop", input="1\n7\n")
    [_, (name, _)] = shop.app.migrations().items()
    shop.run("migrate", "shop")
    plain = shop.schema()
    assert f"Left shop.{name}" not in fix(shop).stdout  # applied: nothing is said of it
    shop.run("migrate", "shop", "0001")

    assert f"Rewrote shop.{name}:" in fix(shop).stdout
    written = shop.app.migrations()
    assert [each for each in written if each == name] and len(written) == 6
    assert "deploy_ops.phases.Contract(" in written[f"{name}_part1"]
    shop.run("makemigrations", "--check", "--dry-run")
    shop.apply()
    shop.assert_schema(plain)
    shop.run("migrate", "shop", "0001")
    shop.assert_schema(start)
    before = shop.app.migrations()
    assert "it needs nothing" in fix(shop).stdout and shop.app.migrations() == before


def test_what_was_written_by_hand_is_all_there(started):
    with_weight(started)
    write(started, "0002_weight", BY_HAND).chmod(0o640)
    fix(started, "shop")
    files = {name: text for name, text in started.app.migrations().items() if name > "0002"}
    assert list(files) == ["0002_weight", "0002_weight_part1", "0002_weight_part2"]
    for comment in COMMENTS:
        assert any(comment in text for text in files.values()), comment
    weighs, enforces, audits = (files[f"0002_weight{end}"] for end in ("_part1", "_part2", ""))
    assert "def weigh" in weighs and "GRAMS = 3" in weighs and "def audit" not in weighs
    assert "# first comes the column" in weighs and "# in grams" in weighs
    assert "EnforceNotNull" in enforces and "    atomic = False\n" in enforces
    assert "# everybody has one now" in enforces and "RunPython" not in enforces
    assert "def audit" in audits and "def weigh" not in audits and "# the end" in audits
    assert "0002_weight_part2" in audits and "0001_initial" in audits
    mode = (started.app.migrations_dir / "0002_weight.py").stat().st_mode
    assert stat.S_IMODE(mode) == 0o640
    started.run("makemigrations", "--check")
    started.expand()


def test_a_run_that_was_killed_between_two_files_is_finished(started):
    with_weight(started)
    path = write(started, "0002_weight", BY_HAND)
    fix(started)
    done = started.app.migrations()
    path.write_text(BY_HAND)  # the last of the renames had not happened yet
    assert "0002_weight_part2" in started.run("makemigrations", "--check", check=1).stderr
    fix(started)
    assert started.app.migrations() == done


def test_line_ends_and_a_list_on_one_line(started):
    text = BY_HAND.replace("\n", "\r\n")
    path = write(started, "0002_weight", text)
    fix(started)
    content = path.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n") > 20
    started.app.remove_behind("0001")
    head = BY_HAND.partition("    operations")[0]
    write(
        started, "0002_gone", f'{head}    operations = [migrations.RemoveField("order", "note")]\n'
    )
    fix(started)
    [_, text] = started.app.migrations().values()
    assert "Contract(" in text and "0002_contract_rows" in text and "# the first" in text


HEAD = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
"""
REMOVAL = 'migrations.RemoveField("order", "note")'
INDEX = 'migrations.AlterField("order", "pieces", models.IntegerField(default=1, db_index=True))'
LEFT = {
    "another type": (
        '    operations = [migrations.AlterField("order", "pieces", models.TextField())]',
        "Give it a column of its own",
    ),
    "computed operations": (
        f"    operations = [each for each in [{REMOVAL}]]",
        "its operations are computed, not written as a list",
    ),
    "a squashed one": (
        f'    replaces = [("shop", "0003_gone")]\n    operations = [{REMOVAL}]',
        "it is a squashed migration",
    ),
    "a loop": (
        f"    operations = [{REMOVAL}]\n    for each in ():\n        operations.append(each)",
        "",
    ),
    "more than the list": (
        f'    operations = [{REMOVAL}]\n    operations += [migrations.RunSQL("SELECT 1", "")]',
        "its operations are not all written in the list of its file",
    ),
    "a file that needs itself": (
        f"    operations = [{REMOVAL}]\nMigration.atomic = True\nassert __file__",
        "what would be written cannot be read",
    ),
}


def test_what_cannot_be_rewritten_stays_and_it_is_said_why(started):
    for what, (body, why) in LEFT.items():
        path = write(started, "0002_odd", HEAD + body + "\n")
        said = fix(started).stdout
        if why:
            assert "Left shop.0002_odd: " in said and why in said, (what, said)
            assert "Nothing was written" not in said  # other files may have been
            assert path.read_text() == HEAD + body + "\n"
        else:
            assert "Rewrote" in said and "for each in ():" in path.read_text()
        started.app.remove_behind("0001")


def test_one_that_is_changed_after_it_was_rewritten_keeps_its_parts(started):
    with_weight(started)
    path = write(started, "0002_weight", BY_HAND)
    fix(started)
    before = started.app.migrations()
    more = f"    operations = [\n        {REMOVAL},\n        {INDEX},"
    path.write_text(path.read_text().replace("    operations = [", more))
    fix(started)
    files = started.app.migrations()
    assert [name for name in before if files[name] != before[name]] == ["0002_weight"]
    assert files.keys() - before.keys() == {"0002_weight_part3", "0002_weight_part4"}
    assert '("shop", "0002_weight_part2")' in files["0002_weight_part3"]
    assert '("shop", "0002_weight_part4")' in files["0002_weight"]
    started.expand()


def test_what_code_of_the_file_means_stays_the_same(started):
    """GRAMS, which code in a block needs too; and `models`, which is no module."""
    with_weight(started)
    function, blocked = BY_HAND.partition("def weigh")[::2]
    body, rest = blocked.split("\n\n\n", 1)
    indented = f"if True:\n    def weigh{body}".replace("\n    ", "\n        ").replace(
        "\n        def", "\n    def"
    )
    text = f"{function}{indented}\n\n\n{rest}".replace('"""Look."""', "print(GRAMS)")
    write(started, "0002_weight", text)
    fix(started)
    started.expand()
    started.run("migrate", "shop", "0001")
    started.app.remove_behind("0001")

    kinds = HEAD.replace("models", "models as m\nmodels = {'kinds': 3}")
    altered = 'migrations.AlterField("order", "pieces", m.IntegerField(default=1, null=True))'
    code = "migrations.RunPython(lambda *_: models['kinds'], migrations.RunPython.noop)"
    path = write(started, "0002_kinds", f"{kinds}    operations = [{code}, {altered}]\n")
    assert "cannot be read: 'dict' object has no attribute 'IntegerField'" in fix(started).stdout
    assert "as m" in path.read_text() and "import models\n" not in path.read_text()

    base = HEAD.replace("class Migration", "class Base") + "\nclass Migration(Base):\n"
    path.write_text(f"{base}    operations = [{REMOVAL}]\n")
    assert "its dependencies are written outside of its class" in fix(started).stdout


def test_how_a_file_is_written_stays(started):
    body = f"{HEAD}    operations = [{REMOVAL}]  # Mü\n"
    path = write(started, "0002_gone", f"\ufeff{body}")
    fix(started)
    assert path.read_bytes().count(b"\xef\xbb\xbf") == 1 and "Contract(" in path.read_text()

    path.write_bytes(body.replace("\n", "\r").encode())
    fix(started)
    assert b"\n" not in path.read_bytes() and "Contract(" in path.read_text()

    other = f"# -*- coding: latin-1 -*-{body}".encode("latin-1")
    path.write_bytes(other)
    said = fix(started).stdout
    assert "Left shop.0002_gone: it is written in iso-8859-1, not in UTF-8" in said
    assert path.read_bytes() == other

    path.write_text(body.replace("migrations, models", "migrations, models  # noqa: E402"))
    fix(started)
    assert "models  # noqa: E402\nimport deploy_ops.phases\n" in path.read_text()


def test_check_and_dry_run_write_nothing(started):
    body = f"{HEAD}    operations = [{REMOVAL}]\n"
    path = write(started, "0002_gone", body)
    assert "Would rewrite shop.0002_gone:" in fix(started, "--check", check=1).stdout
    assert "deploy_ops.phases.Contract(" in fix(started, "--dry-run", "-v", "3").stdout
    assert path.read_text() == body
    result = started.project.json("make_two_phase", "--fix")
    assert result == {
        "status": "ok",
        "files": [str(path)],
        "rewritten": [["shop", "0002_gone"]],
        "left": [],
    }
    fix(started, "--check")
    fix(started, "shopp", check=2)
    assert "takes neither --name" in fix(started, "--name", "other", check=2).stderr


def test_every_database_is_asked(started, tmp_path):
    body = f"{HEAD}    operations = [{REMOVAL}]\n"
    path = write(started, "0002_gone", body)
    other = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "other.sqlite3")}
    default = other | {"NAME": str(started.project.database.path)}
    started.project.settings(DATABASES={"default": default, "other": other})
    started.run("migrate", "--database", "other")
    assert fix(started).stdout == "There is no migration that no database has applied.\n"

    other["NAME"] = str(tmp_path / "nowhere" / "other.sqlite3")
    started.project.settings(DATABASES={"default": default, "other": other})
    result = fix(started, check=1)
    assert "Database other cannot be asked which migrations it has applied" in result.stderr
    assert "Nothing was written." in result.stderr and path.read_text() == body


@pytest.mark.parametrize("database", [POSTGRESQL[0]], indirect=True)
def test_a_server_that_does_not_answer_is_not_taken_for_an_empty_one(shop):
    shop.start(START)
    path = write(shop, "0002_gone", f"{HEAD}    operations = [{REMOVAL}]\n")
    environment = {"DATABASE_URL": "postgresql://nobody:geheim@127.0.0.1:1/nothing"}
    result = fix(shop, check=1, env=environment)
    assert "cannot be asked" in result.stderr and "geheim" not in result.stderr
    assert "RemoveField" in path.read_text() and "deploy_ops" not in path.read_text()


def test_what_is_installed_and_what_is_new_is_left_alone(started):
    started.app.models(END)
    started.run("makemigrations", "shop", "--name", "more", input="1\n7\n")
    started.run("migrate", "shop", "zero")  # all tables are made by this release
    before = started.app.migrations()
    assert json.loads(fix(started, "--format", "json").stdout)["rewritten"] == []
    assert started.app.migrations() == before
