import deploy_ops.models
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("deploy_ops", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="ContractRow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("app", models.CharField(max_length=255)),
                ("migration", models.CharField(max_length=255)),
                ("path", models.CharField(max_length=50)),
                ("relation", deploy_ops.models.RelationField(null=True)),
                ("operation", models.TextField()),
                ("description", models.TextField()),
                ("release", models.CharField(max_length=100)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("done_at", models.DateTimeField(null=True)),
                ("skipped_because", models.TextField(default="")),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("last_error", models.TextField(default="")),
            ],
            options={
                "ordering": ["id"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("app", "migration", "path"), name="deploy_ops_contractrow_operation"
                    )
                ],
            },
        ),
    ]
