import uuid

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models


class Member(AbstractBaseUser):
    """What Django lets a project have without django.contrib.auth in INSTALLED_APPS."""

    USERNAME_FIELD = "email"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    city = models.CharField(max_length=80, null=True)
