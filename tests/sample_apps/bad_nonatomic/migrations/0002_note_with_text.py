from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bad_nonatomic", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="trip",
            name="note",
            field=models.CharField(max_length=40, null=True),
        ),
        migrations.RunSQL(
            sql=[
                "UPDATE bad_nonatomic_trip SET note = 'imported'",
                "UPDATE bad_nonatomic_no_such_table SET note = 'imported'",
            ],
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
