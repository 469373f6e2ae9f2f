from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="FlagChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("flag", models.CharField(max_length=100, verbose_name="flag")),
                ("version", models.BigIntegerField(unique=True, verbose_name="version")),
                ("at", models.DateTimeField(auto_now_add=True, verbose_name="time")),
                ("by", models.CharField(max_length=254, verbose_name="changed by")),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("admin", "administration"),
                            ("cli", "command line"),
                            ("code", "code"),
                        ],
                        max_length=5,
                        verbose_name="source",
                    ),
                ),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
                ("old", models.JSONField(null=True, verbose_name="before")),
                ("new", models.JSONField(null=True, verbose_name="after")),
            ],
            options={
                "verbose_name": "change of a flag",
                "verbose_name_plural": "changes of flags",
                "ordering": ["-version"],
                "default_permissions": ["view"],
                "indexes": [
                    models.Index(fields=["flag", "-version"], name="deploy_ops_flagchange_flag")
                ],
            },
        ),
        migrations.CreateModel(
            name="FlagState",
            fields=[
                (
                    "name",
                    models.CharField(
                        max_length=100, primary_key=True, serialize=False, verbose_name="name"
                    ),
                ),
                ("everyone", models.BooleanField(blank=True, null=True, verbose_name="everyone")),
                (
                    "percentage",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        max_digits=5,
                        null=True,
                        verbose_name="percentage",
                    ),
                ),
                ("users", models.JSONField(blank=True, default=list, verbose_name="users")),
                ("groups", models.JSONField(blank=True, default=list, verbose_name="groups")),
                ("staff", models.BooleanField(default=False, verbose_name="staff")),
                ("superusers", models.BooleanField(default=False, verbose_name="superusers")),
                ("starts_at", models.DateTimeField(blank=True, null=True, verbose_name="from")),
                ("ends_at", models.DateTimeField(blank=True, null=True, verbose_name="until")),
                ("revision", models.BigIntegerField(editable=False, verbose_name="revision")),
            ],
            options={
                "verbose_name": "feature flag",
                "verbose_name_plural": "feature flags",
                "ordering": ["name"],
                "permissions": [("toggle_flag", "Can toggle feature flags")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("percentage__isnull", True),
                            ("percentage__range", (0, 100)),
                            _connector="OR",
                        ),
                        name="deploy_ops_flagstate_percentage",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("starts_at__isnull", True),
                            ("ends_at__isnull", True),
                            ("starts_at__lt", models.F("ends_at")),
                            _connector="OR",
                        ),
                        name="deploy_ops_flagstate_dates",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FlagVersion",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                ("version", models.BigIntegerField(default=0, verbose_name="version")),
                ("changed_at", models.DateTimeField(null=True, verbose_name="changed at")),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="deploy_ops_flagversion_one_row"
                    )
                ],
            },
        ),
    ]
