from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("fills_partitions", "0001_initial")]

    operations = [
        migrations.RunSQL(
            [
                "CREATE TABLE stage (trip bigint, day int) PARTITION BY RANGE (day)",
                "CREATE TABLE stage_first PARTITION OF stage FOR VALUES FROM (0) TO (100)",
                "INSERT INTO stage SELECT id, 1 FROM fills_partitions_trip",
            ],
            "DROP TABLE stage",
        ),
    ]
