"""What the pages about phases show is code that can be pasted into a migration."""

import re

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models import CASCADE, Q, Value
from django.db.models.functions import Concat

from deploy_ops import phases
from tests.docs.console import ROOT

PAGES = ["docs/howto/change-a-busy-table.md", "docs/reference/phases.md"]
IMPORTED = {name: getattr(phases, name) for name in phases.__all__} | {
    "CASCADE": CASCADE,
    "Concat": Concat,
    "Q": Q,
    "RandomUUID": RandomUUID,
    "Value": Value,
    "migrations": migrations,
    "models": models,
}


@pytest.mark.parametrize("page", PAGES)
def test_every_operation_can_be_written_so(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(block, page, "exec"), dict(IMPORTED))


def test_every_operation_has_its_place_in_the_reference():
    text = (ROOT / "docs/reference/phases.md").read_text(encoding="utf-8")
    operations = [name for name in phases.__all__ if issubclass(IMPORTED[name], Operation)]
    assert [name for name in operations if f"`{name}" not in text] == []
