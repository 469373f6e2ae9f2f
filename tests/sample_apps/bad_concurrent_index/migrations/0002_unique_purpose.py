from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bad_concurrent_index", "0001_initial")]

    operations = [
        migrations.RunSQL(
            sql=(
                "CREATE UNIQUE INDEX CONCURRENTLY bad_concurrent_index_purpose"
                " ON bad_concurrent_index_trip (purpose)"
            ),
            reverse_sql="DROP INDEX CONCURRENTLY IF EXISTS bad_concurrent_index_purpose",
            state_operations=[
                migrations.AddConstraint(
                    model_name="trip",
                    constraint=models.UniqueConstraint(
                        fields=["purpose"], name="bad_concurrent_index_purpose"
                    ),
                ),
            ],
        ),
    ]
