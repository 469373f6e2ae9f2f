"""Labelled sample migrations: name, ids of the findings about locks, operations.

What the server does with each is compared with what lint says, so a label is a second opinion.
"""

import uuid

import django
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.contrib.postgres.functions import RandomUUID, TransactionNow
from django.db import migrations, models
from django.db.models.functions import Lower, Now, Random

from tests.deploy_ops.migrate.lint.sql_samples import SQL

m = migrations
SAMPLES: dict[str, tuple[str, list]] = {}


def sample(name, ids, *operations):
    assert name not in SAMPLES, name
    SAMPLES[name] = (ids, list(operations))


def add(name, ids, field, model="fahrt"):
    sample(f"field_{name}", ids, m.AddField(model, "neu", field))


def alter(name, ids, column, field, model="fahrt"):
    sample(f"alter_{name}", ids, m.AlterField(model, column, field))


def fk(to="reise.nutzer", **options):
    return models.ForeignKey(to, models.CASCADE, related_name="+", **options)


# AddField
add("nullable", "", models.CharField(max_length=20, null=True))
add("default", "", models.IntegerField(default=3))
add("callable_default", "", models.JSONField(default=dict))
add("blank_text", "", models.CharField(max_length=20, blank=True, default=""))
add("db_default", "", models.IntegerField(db_default=3))
add("db_default_now", "", models.DateTimeField(db_default=Now()))
add("db_default_transaction_now", "", models.DateTimeField(db_default=TransactionNow()))
add(
    "db_default_expression", "", models.CharField(max_length=9, db_default=Lower(models.Value("A")))
)
add("db_default_uuid", "L007", models.UUIDField(db_default=RandomUUID()))
add("db_default_random", "L007", models.FloatField(db_default=Random()))
add(
    "db_default_text_that_names_a_function",
    "",
    models.CharField(max_length=40, db_default="random() nextval('x')"),
)
add("auto_now", "", models.DateTimeField(auto_now=True))
add("uuid_default", "L208", models.UUIDField(default=uuid.uuid4))
add("decimal", "", models.DecimalField(max_digits=9, decimal_places=2, null=True))
add("boolean", "", models.BooleanField(default=False))
add("array_like_json", "", models.JSONField(null=True))
add("binary", "", models.BinaryField(null=True))
add("duration", "", models.DurationField(null=True))
add("positive_nullable", "L012", models.PositiveIntegerField(null=True))
add("positive_default", "L012", models.PositiveSmallIntegerField(default=0))
add(
    "stored_generated",
    "L008",
    models.GeneratedField(
        expression=models.F("km") * 2, output_field=models.IntegerField(), db_persist=True
    ),
)
add("indexed", "L009", models.IntegerField(null=True, db_index=True))
add("indexed_text", "L009", models.CharField(max_length=9, null=True, db_index=True))
add("slug", "L009", models.SlugField(null=True))
add("unique", "L009", models.IntegerField(null=True, unique=True))
add("unique_text", "L009", models.CharField(max_length=9, null=True, unique=True))
add(
    "one_to_one",
    "L009 L013",
    models.OneToOneField("reise.nutzer", models.CASCADE, null=True, related_name="+"),
)
add("foreign_key", "L009 L013", fk(null=True))
add("foreign_key_without_index", "L013", fk(null=True, db_index=False))
add("foreign_key_without_constraint", "L009", fk(null=True, db_constraint=False))
add("foreign_key_bare", "", fk(null=True, db_constraint=False, db_index=False))
add("foreign_key_with_default", "L009 L011 L013", fk(default=1))
add("foreign_key_to_itself", "L009", fk("reise.fahrt", null=True))
add("many_to_many", "L013", models.ManyToManyField("reise.projekt", related_name="+"))
add("many_to_many_to_itself", "L013", models.ManyToManyField("self", related_name="+"))
add("volatile_indexed", "L007", models.UUIDField(db_default=RandomUUID(), db_index=True))
add("to_empty_indexed", "", models.IntegerField(null=True, db_index=True), "leer")
add("to_empty_volatile", "", models.UUIDField(db_default=RandomUUID()), "leer")
add("to_empty_foreign_key", "L013", fk(null=True), "leer")
add("commented", "", models.IntegerField(null=True, db_comment="neu"))
add("collated", "", models.CharField(max_length=9, null=True, db_collation="C"))

# RemoveField
sample("remove_column", "", m.RemoveField("fahrt", "status"))
sample("remove_indexed", "", m.RemoveField("fahrt", "kurz"))
sample("remove_foreign_key", "L014", m.RemoveField("fahrt", "projekt"))
sample("remove_foreign_key_without_constraint", "", m.RemoveField("fahrt", "lose"))
sample("remove_many_to_many", "L014", m.RemoveField("fahrt", "tags"))

# AlterField: null
alter("set_not_null", "L003", "status", models.CharField(max_length=20))
alter("set_not_null_proven", "", "bewiesen", models.IntegerField())
alter("set_not_null_default", "L003 L004", "datum", models.DateField(default="2026-01-01"))
alter("set_not_null_db_default", "L003 L004", "datum", models.DateField(db_default=Now()))
alter(
    "set_not_null_foreign_key",
    "L003 L011 L014",
    "projekt",
    models.ForeignKey("reise.projekt", models.CASCADE),
)
alter("set_not_null_empty", "", "zweck", models.CharField(max_length=100), "leer")
alter("drop_not_null", "", "zweck", models.CharField(max_length=100, null=True))
alter("set_db_default", "", "plaetze", models.IntegerField(default=1, db_default=3))
alter("drop_db_default", "", "vorgabe", models.IntegerField())
alter("change_db_default", "", "vorgabe", models.IntegerField(db_default=8))
alter("default_only", "", "plaetze", models.IntegerField(default=9))
alter("choices_only", "", "zweck", models.CharField(max_length=100, choices=[("a", "b")]))
alter("verbose_name_only", "", "zweck", models.CharField("Zweck", max_length=100))
alter("nothing", "", "zweck", models.CharField(max_length=100))
alter("db_column", "", "status", models.CharField(max_length=20, null=True, db_column="stand"))
alter("comment", "", "kommentiert", models.IntegerField(db_comment="neu", null=True))

# AlterField: types
alter("varchar_wider", "", "zweck", models.CharField(max_length=200))
alter("varchar_narrower", "L005", "zweck", models.CharField(max_length=50))
alter("varchar_to_text", "", "zweck", models.TextField())
alter("varchar_without_limit", "", "zweck", models.CharField())
alter("text_to_varchar", "L005", "notiz", models.CharField(max_length=50, null=True))
alter("varchar_wider_with_check", "L005", "geprueft", models.CharField(max_length=30))
alter("varchar_wider_unique", "", "code", models.CharField(max_length=40, unique=True))
alter("varchar_wider_indexed", "", "kurz", models.CharField(max_length=40, db_index=True))
alter("indexed_varchar_to_text", "L005", "kurz", models.TextField(db_index=True))
alter("int_to_bigint", "L005", "plaetze", models.BigIntegerField(default=1))
alter("int_to_smallint", "L005", "plaetze", models.SmallIntegerField(default=1))
alter("int_to_text", "L005", "plaetze", models.TextField(default="1"))
alter("numeric_wider", "", "betrag", models.DecimalField(max_digits=12, decimal_places=2))
alter("numeric_scale", "L005", "betrag", models.DecimalField(max_digits=12, decimal_places=4))
alter("numeric_narrower", "L005", "betrag", models.DecimalField(max_digits=6, decimal_places=2))
alter("date_to_timestamp", "L005", "datum", models.DateTimeField(null=True))
alter("timestamp_to_date", "L005", "erstellt", models.DateField())
alter("int_to_positive", "L012", "plaetze", models.PositiveIntegerField(default=1))
alter("positive_to_int", "", "km", models.IntegerField())
alter("primary_key_type", "L005 L006 L011", "id", models.BigAutoField(primary_key=True), "projekt")
alter(
    "primary_key_wider",
    "L006 L011",
    "wort",
    models.CharField(max_length=40, primary_key=True),
    "wort",
)
alter("collation", "L005", "zweck", models.CharField(max_length=100, db_collation="C"))
alter(
    "collation_indexed",
    "L005",
    "kurz",
    models.CharField(max_length=20, db_index=True, db_collation="C"),
)

# AlterField: indexes and constraints
alter("index", "L001", "plaetze", models.IntegerField(default=1, db_index=True))
alter("index_text", "L001", "zweck", models.CharField(max_length=100, db_index=True))
alter("no_index", "L002", "rang", models.IntegerField(null=True))
alter("no_index_text", "L002", "kurz", models.CharField(max_length=20))
alter("unique_on", "L010", "bewiesen", models.IntegerField(null=True, unique=True))
alter("unique_text_on", "L010", "notiz", models.TextField(null=True, unique=True))
alter("unique_off", "", "code", models.CharField(max_length=20))
alter("unique_to_index", "L001", "beleg_nr", models.IntegerField(db_index=True))
alter("index_to_unique", "L002 L010", "rang", models.IntegerField(null=True, unique=True))
alter("constraint_on", "L011", "lose", fk(null=True))
alter(
    "constraint_off",
    "L014",
    "nutzer",
    models.ForeignKey("reise.nutzer", models.CASCADE, db_constraint=False),
)
alter(
    "foreign_key_null",
    "L011 L014",
    "nutzer",
    models.ForeignKey("reise.nutzer", models.CASCADE, null=True),
)
alter("foreign_key_on_delete", "", "nutzer", models.ForeignKey("reise.nutzer", models.PROTECT))
alter(
    "foreign_key_related_name",
    "",
    "nutzer",
    models.ForeignKey("reise.nutzer", models.CASCADE, related_name="fahrten"),
)
alter("many_to_many_blank", "", "tags", models.ManyToManyField("reise.tag", blank=True))

# Indexes and constraints
sample("add_index", "L001", m.AddIndex("fahrt", models.Index(fields=["km"], name="i")))
sample(
    "add_index_partial",
    "L001",
    m.AddIndex("fahrt", models.Index(fields=["km"], name="i", condition=models.Q(km__gt=3))),
)
sample("add_index_expression", "L001", m.AddIndex("fahrt", models.Index(Lower("zweck"), name="i")))
sample("add_index_gin", "L001", m.AddIndex("beleg", GinIndex(fields=["woerter"], name="g")))
sample("add_index_to_empty", "", m.AddIndex("leer", models.Index(fields=["zweck"], name="i")))
sample("remove_index", "L002", m.RemoveIndex("fahrt", "fahrt_datum"))
sample("rename_index", "", m.RenameIndex("fahrt", new_name="neu", old_name="fahrt_datum"))
sample(
    "add_check",
    "L012",
    m.AddConstraint("fahrt", models.CheckConstraint(condition=models.Q(km__gte=0), name="c")),
)
sample(
    "add_check_to_empty",
    "",
    m.AddConstraint("leer", models.CheckConstraint(condition=models.Q(id__gte=0), name="c")),
)
sample(
    "add_check_not_valid",
    "",
    AddConstraintNotValid("fahrt", models.CheckConstraint(condition=models.Q(km__gte=0), name="c")),
)
sample(
    "add_unique", "L010", m.AddConstraint("fahrt", models.UniqueConstraint(fields=["km"], name="u"))
)
sample(
    "add_unique_deferrable",
    "L010",
    m.AddConstraint(
        "fahrt",
        models.UniqueConstraint(fields=["km"], name="u", deferrable=models.Deferrable.DEFERRED),
    ),
)
sample(
    "add_unique_nulls",
    "L010",
    m.AddConstraint(
        "fahrt", models.UniqueConstraint(fields=["km"], name="u", nulls_distinct=False)
    ),
)
sample(
    "add_unique_partial",
    "L010",
    m.AddConstraint(
        "fahrt", models.UniqueConstraint(fields=["km"], name="u", condition=models.Q(km__gt=3))
    ),
)
sample(
    "add_unique_expression",
    "L010",
    m.AddConstraint("fahrt", models.UniqueConstraint(Lower("code"), name="u")),
)
sample(
    "add_unique_include",
    "L010",
    m.AddConstraint("fahrt", models.UniqueConstraint(fields=["km"], include=["plaetze"], name="u")),
)
sample(
    "add_exclusion",
    "L015",
    m.AddConstraint(
        "fahrt",
        ExclusionConstraint(
            name="x",
            expressions=[(models.Func("km", "km", models.Value("[]"), function="int4range"), "&&")],
        ),
    ),
)
sample("remove_check", "", m.RemoveConstraint("fahrt", "fahrt_geprueft"))
sample("remove_unique", "", m.RemoveConstraint("fahrt", "fahrt_beleg_code"))
sample(
    "unique_together_on",
    "L010",
    m.AlterUniqueTogether("fahrt", {("zweck", "beleg_nr"), ("km", "code")}),
)
sample("unique_together_off", "", m.AlterUniqueTogether("fahrt", set()))
sample(
    "proven_in_the_plan",
    "",
    AddConstraintNotValid(
        "fahrt", models.CheckConstraint(condition=models.Q(status__isnull=False), name="c")
    ),
)

# Models
sample("create_model", "", m.CreateModel("Neu", [("id", models.BigAutoField(primary_key=True))]))
sample(
    "create_model_foreign_key",
    "L013",
    m.CreateModel("Neu", [("id", models.BigAutoField(primary_key=True)), ("nutzer", fk())]),
)
sample(
    "create_model_many_to_many",
    "L013",
    m.CreateModel(
        "Neu",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("tags", models.ManyToManyField("reise.tag", related_name="+")),
        ],
    ),
)
sample(
    "create_model_to_itself",
    "",
    m.CreateModel("Neu", [("id", models.BigAutoField(primary_key=True)), ("vor", fk("reise.neu"))]),
)
sample(
    "create_then_everything",
    "L013",
    m.CreateModel(
        "Neu",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("text", models.CharField(max_length=9, null=True)),
        ],
    ),
    m.AddField("neu", "nutzer", fk(null=True)),
    m.AddIndex("neu", models.Index(fields=["text"], name="i")),
    m.AlterField("neu", "text", models.CharField(max_length=5, default="")),
    m.AddConstraint("neu", models.UniqueConstraint(fields=["text"], name="u")),
)
sample(
    "create_proxy", "", m.CreateModel("Eilig", [], options={"proxy": True}, bases=("reise.fahrt",))
)
sample(
    "create_unmanaged",
    "",
    m.CreateModel(
        "Fremd", [("id", models.BigAutoField(primary_key=True))], options={"managed": False}
    ),
)
sample("delete_model", "", m.DeleteModel("Leer"))
sample("delete_model_foreign_key", "L014", m.DeleteModel("Beleg"))
sample("rename_model", "L011 L014", m.RenameModel("Fahrt", "Reise"))
sample("rename_model_without_relations", "", m.RenameModel("Leer", "Voll"))
sample("alter_table", "", m.AlterModelTable("leer", "woanders"))
sample("alter_table_same", "", m.AlterModelTable("leer", "reise_leer"))
sample("rename_field", "", m.RenameField("fahrt", "status", "stand"))
sample(
    "rename_field_same_column",
    "",
    m.AlterField("fahrt", "status", models.CharField(max_length=20, null=True, db_column="status")),
    m.RenameField("fahrt", "status", "stand"),
)
sample("order_with_respect_to", "", m.AlterOrderWithRespectTo("satz", "wort"))
sample("table_comment", "", m.AlterModelTableComment("fahrt", "Fahrten"))
sample("options", "", m.AlterModelOptions("fahrt", {"verbose_name": "Fahrt"}))
sample("managers", "", m.AlterModelManagers("fahrt", []))
sample(
    "state_only",
    "",
    m.SeparateDatabaseAndState(state_operations=[m.RemoveField("fahrt", "nutzer")]),
)
sample(
    "database_only",
    "L001",
    m.SeparateDatabaseAndState(
        database_operations=[m.AddIndex("fahrt", models.Index(fields=["km"], name="i"))]
    ),
)
sample(
    "both",
    "L014",
    m.SeparateDatabaseAndState(
        database_operations=[m.RemoveField("fahrt", "projekt")],
        state_operations=[m.RemoveField("fahrt", "projekt")],
    ),
)
sample(
    "renamed_then_indexed",
    "L001",
    m.AlterModelTable("satz", "spruch"),
    m.AddIndex("satz", models.Index(fields=["wort"], name="i")),
)

for name, (ids, text) in SQL.items():
    sample(f"sql_{name}", ids, m.RunSQL(text, m.RunSQL.noop))

if django.VERSION >= (6, 1):
    from django.db.models.functions import UUID4

    add("db_default_uuid4", "L007", models.UUIDField(db_default=UUID4()))
    alter("numeric_without_limit", "", "betrag", models.DecimalField())
    alter(
        "foreign_key_in_the_database",
        "L011 L014",
        "nutzer",
        models.ForeignKey("reise.nutzer", models.DB_CASCADE),
    )
