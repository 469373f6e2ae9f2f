from deploy_ops.phases import Contract
from django.db import migrations

# Code of the old release may have changed the kilometres of a trip whose amount was there already.
CORRECT = """
UPDATE reisekosten_fahrt SET erstattung = ROUND(km * 0.30, 2)
WHERE erstattung <> ROUND(km * 0.30, 2)
"""


class Migration(migrations.Migration):

    dependencies = [
        ("deploy_ops", "0002_contract_rows"),
        ("reisekosten", "0003_fahrt_erstattung_not_null"),
    ]

    operations = [
        Contract(migrations.RunSQL(CORRECT, migrations.RunSQL.noop)),
    ]
