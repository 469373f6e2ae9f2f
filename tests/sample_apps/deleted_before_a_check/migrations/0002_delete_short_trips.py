from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("deleted_before_a_check", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "DELETE FROM deleted_before_a_check_trip WHERE km < 300", migrations.RunSQL.noop
        ),
        migrations.AddConstraint(
            model_name="trip",
            constraint=models.CheckConstraint(
                condition=models.Q(km__gte=1000), name="deleted_before_a_check_long"
            ),
        ),
    ]
