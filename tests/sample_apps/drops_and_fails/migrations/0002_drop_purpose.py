from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("drops_and_fails", "0001_initial")]

    operations = [
        migrations.RemoveField(model_name="trip", name="purpose"),
    ]
