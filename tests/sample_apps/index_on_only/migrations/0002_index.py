from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("index_on_only", "0001_initial")]

    operations = [
        migrations.RunSQL(
            [
                "CREATE TABLE stage (trip bigint, day int) PARTITION BY RANGE (day)",
                "CREATE TABLE stage_first PARTITION OF stage FOR VALUES FROM (0) TO (100)",
                "CREATE INDEX stage_trip ON ONLY stage (trip)",
            ],
            "DROP TABLE stage",
        ),
    ]
