from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("deploy_ops", "0005_contractrow_waits_for")]

    operations = [
        migrations.CreateModel(
            name="Operations",
            fields=[],
            options={
                "verbose_name": "operations",
                "verbose_name_plural": "operations",
                "proxy": True,
                "default_permissions": ("view",),
                "indexes": [],
                "constraints": [],
            },
            bases=("deploy_ops.contractrow",),
        ),
    ]
