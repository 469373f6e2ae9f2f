from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("truncates_and_fails", "0001_initial")]

    operations = [
        migrations.RunSQL(
            [
                "TRUNCATE truncates_and_fails_trip",
                "INSERT INTO truncates_and_fails_trip (purpose, km) VALUES ('new year', 0)",
            ],
            "DELETE FROM truncates_and_fails_trip",
        ),
    ]
