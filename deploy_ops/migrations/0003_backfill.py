import deploy_ops.models
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("deploy_ops", "0002_contract_rows"),
    ]

    operations = [
        migrations.CreateModel(
            name="BackfillProgress",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=300, unique=True)),
                ("relation", deploy_ops.models.RelationField()),
                ("description", models.TextField()),
                ("cursor", models.JSONField(null=True)),
                ("upper", models.JSONField(null=True)),
                ("rows_total", models.BigIntegerField(default=0)),
                ("rows_read", models.BigIntegerField(default=0)),
                ("rows_written", models.BigIntegerField(default=0)),
                ("release", models.CharField(max_length=100)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("updated_at", models.DateTimeField(null=True)),
                ("paused_at", models.DateTimeField(null=True)),
                ("cancelled_at", models.DateTimeField(null=True)),
                ("done_at", models.DateTimeField(null=True)),
                ("waits_for", models.TextField(default="")),
                ("last_error", models.TextField(default="")),
            ],
            options={
                "ordering": ["id"],
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="BackfillRange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("lower", models.JSONField(null=True)),
                ("upper", models.JSONField()),
                ("rows", models.BigIntegerField()),
                ("written", models.BigIntegerField(null=True)),
                ("not_before", models.DateTimeField(auto_now_add=True)),
                (
                    "backfill",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="ranges",
                        to="deploy_ops.backfillprogress",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "default_permissions": (),
            },
        ),
    ]
