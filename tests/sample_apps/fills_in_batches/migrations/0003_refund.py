from decimal import Decimal

from django.db import migrations

from deploy_ops.phases import Backfill


def refunds(trips):
    """30 cents a kilometre."""
    return [trip.km * Decimal("0.30") for trip in trips]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("fills_in_batches", "0002_count")]

    operations = [
        Backfill("trip", "refund", refunds),
    ]
