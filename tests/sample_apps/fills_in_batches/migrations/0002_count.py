from django.db import migrations
from django.db.models import F, Q

from deploy_ops.phases import Backfill


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("fills_in_batches", "0001_initial")]

    operations = [
        Backfill("trip", "n", F("n") + 1, where=Q()),
    ]
