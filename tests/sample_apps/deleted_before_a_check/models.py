from django.db import models


class Trip(models.Model):
    """A trip."""

    id = models.BigAutoField(primary_key=True)
    purpose = models.CharField(max_length=200)
    km = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(km__gte=1000), name="deleted_before_a_check_long"
            )
        ]
