"""Every rule has a test, and an operation that lint cannot read is no accident."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[3] / "docs/reference/findings.md"


def test_every_id_of_the_reference_is_tested():
    ids = re.findall(r"^### (L\d{3})$", PAGE.read_text(encoding="utf-8"), re.M)
    tests = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("*.py"))
    assert len(ids) > 40
    assert [each for each in ids if not re.search(rf"\b{each}\b", tests)] == []
