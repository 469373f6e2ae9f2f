from django.db import migrations
from django.db.models import F, Q

from deploy_ops.phases import Backfill


class Migration(migrations.Migration):
    dependencies = [("fills_in_batches", "0003_refund")]

    operations = [
        Backfill("trip", "m", F("m") + F("n"), where=Q(km__gt=0), detached=True),
    ]
