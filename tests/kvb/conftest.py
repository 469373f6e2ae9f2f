from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from kvb.reisekosten.models import Fahrt


@pytest.fixture(autouse=True)
def media_root(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"
    return settings.MEDIA_ROOT


@pytest.fixture
def anna(db) -> User:
    return User.objects.create_user("anna", password="anna")


@pytest.fixture
def bert(db) -> User:
    return User.objects.create_user("bert", password="bert")


@pytest.fixture
def as_anna(anna) -> Client:
    client = Client()
    client.force_login(anna)
    return client


@pytest.fixture
def drive() -> Callable[..., Fahrt]:
    """Saves a trip; what a test doesn't care about has a default."""

    def _drive(person: User, datum: str = "2025-11-03", km: str = "10", **fields: Any) -> Fahrt:
        ort = {"von": "Köln", "nach": "Bonn", "zweck": "Kunde"}
        return Fahrt.objects.create(
            person=person, datum=date.fromisoformat(datum), km=Decimal(km), **(ort | fields)
        )

    return _drive
