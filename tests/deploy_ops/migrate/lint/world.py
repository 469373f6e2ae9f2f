"""The tables that the sample migrations meet, with rows in them."""

from django.contrib.postgres.indexes import GinIndex
from django.db import migrations, models

APP = "reise"
ROWS = 400

FAHRT = [
    ("id", models.BigAutoField(primary_key=True)),
    ("zweck", models.CharField(max_length=100)),
    ("km", models.PositiveIntegerField()),
    ("plaetze", models.IntegerField(default=1)),
    ("betrag", models.DecimalField(max_digits=8, decimal_places=2)),
    ("datum", models.DateField(null=True)),
    ("erstellt", models.DateTimeField(auto_now_add=True)),
    ("nutzer", models.ForeignKey("reise.nutzer", models.CASCADE)),
    ("projekt", models.ForeignKey("reise.projekt", models.CASCADE, null=True)),
    (
        "lose",
        models.ForeignKey(
            "reise.nutzer", models.CASCADE, null=True, db_constraint=False, related_name="+"
        ),
    ),
    ("status", models.CharField(max_length=20, null=True)),
    ("notiz", models.TextField(null=True)),
    ("bewiesen", models.IntegerField(null=True)),
    ("geprueft", models.CharField(max_length=20)),
    ("beleg_nr", models.IntegerField(unique=True)),
    ("code", models.CharField(max_length=20, unique=True)),
    ("kurz", models.CharField(max_length=20, db_index=True)),
    ("rang", models.IntegerField(db_index=True, null=True)),
    ("vorgabe", models.IntegerField(db_default=7)),
    ("kommentiert", models.IntegerField(db_comment="alt", null=True)),
    ("tags", models.ManyToManyField("reise.tag")),
]
FAHRT_OPTIONS = {
    "indexes": [models.Index(fields=["datum"], name="fahrt_datum")],
    "constraints": [
        models.CheckConstraint(condition=models.Q(bewiesen__isnull=False), name="fahrt_bewiesen"),
        models.CheckConstraint(condition=~models.Q(geprueft=""), name="fahrt_geprueft"),
        models.UniqueConstraint(fields=["beleg_nr", "code"], name="fahrt_beleg_code"),
    ],
    "unique_together": {("zweck", "beleg_nr")},
}
LEER = [
    ("id", models.BigAutoField(primary_key=True)),
    ("zweck", models.CharField(max_length=100, null=True)),
    ("nutzer", models.ForeignKey("reise.nutzer", models.CASCADE, db_constraint=False)),
]


def models_of_the_world() -> list[migrations.CreateModel]:
    return [
        migrations.CreateModel(
            "Nutzer",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=50)),
            ],
        ),
        migrations.CreateModel(
            "Projekt",
            [
                ("id", models.AutoField(primary_key=True)),
                ("nummer", models.CharField(max_length=9)),
            ],
        ),
        migrations.CreateModel("Tag", [("id", models.BigAutoField(primary_key=True))]),
        migrations.CreateModel("Fahrt", FAHRT, options=FAHRT_OPTIONS),
        migrations.CreateModel(
            "Beleg",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("fahrt", models.ForeignKey("reise.fahrt", models.CASCADE)),
                ("woerter", models.JSONField(default=dict)),
            ],
            options={"indexes": [GinIndex(fields=["woerter"], name="beleg_woerter")]},
        ),
        migrations.CreateModel("Leer", LEER),
        migrations.CreateModel(
            "Wort", [("wort", models.CharField(max_length=20, primary_key=True))]
        ),
        migrations.CreateModel(
            "Satz",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("wort", models.ForeignKey("reise.wort", models.CASCADE)),
            ],
        ),
    ]


ROWS_OF = f"""
    INSERT INTO reise_nutzer (name) SELECT 'n' || n FROM generate_series(1, {ROWS}) n;
    INSERT INTO reise_projekt (nummer) SELECT 'p' || n FROM generate_series(1, {ROWS}) n;
    INSERT INTO reise_tag SELECT FROM generate_series(1, {ROWS}) n;
    INSERT INTO reise_fahrt (zweck, km, plaetze, betrag, datum, erstellt, nutzer_id, projekt_id,
        lose_id, status, notiz, bewiesen, geprueft, beleg_nr, code, kurz, rang)
      SELECT 'z', n, 1, 1.5, CASE WHEN n % 2 = 0 THEN '2026-01-01'::date END, now(), n, n, n, 's', 'x' || n, n, 'g', n, 'c' || n, 'k', n
      FROM generate_series(1, {ROWS}) n;
    INSERT INTO reise_fahrt_tags (fahrt_id, tag_id) SELECT n, n FROM generate_series(1, {ROWS}) n;
    INSERT INTO reise_beleg (fahrt_id, woerter) SELECT n, '{{}}' FROM generate_series(1, {ROWS}) n;
    INSERT INTO reise_wort SELECT 'w' || n FROM generate_series(1, {ROWS}) n;
    INSERT INTO reise_satz (wort_id) SELECT 'w' || n FROM generate_series(1, {ROWS}) n;
    CREATE TABLE teile (id int, jahr int) PARTITION BY RANGE (jahr);
    CREATE TABLE teil_1 PARTITION OF teile FOR VALUES FROM (1) TO (5);
    CREATE TABLE teil_2 (id int, jahr int);
    INSERT INTO teile SELECT n, 3 FROM generate_series(1, 400) n;
    INSERT INTO teil_2 SELECT n, 7 FROM generate_series(1, 400) n;
    SET CONSTRAINTS ALL IMMEDIATE;
    ALTER TABLE reise_fahrt ADD CONSTRAINT noch CHECK (km >= 0) NOT VALID;
    ALTER TABLE reise_fahrt ADD CONSTRAINT noch_fk FOREIGN KEY (rang) REFERENCES reise_projekt
        NOT VALID;
    CREATE UNIQUE INDEX fahrt_rang_einmal ON reise_fahrt (rang);
    CREATE MATERIALIZED VIEW summe AS SELECT km FROM reise_fahrt;
    CREATE UNIQUE INDEX summe_km ON summe (km);
    CREATE VIEW km_je_nutzer AS SELECT nutzer_id, km FROM reise_fahrt;
    ANALYZE;
"""
