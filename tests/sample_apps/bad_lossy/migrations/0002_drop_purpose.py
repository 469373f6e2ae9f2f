from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("bad_lossy", "0001_initial")]

    operations = [
        migrations.RemoveField(model_name="trip", name="purpose"),
    ]
