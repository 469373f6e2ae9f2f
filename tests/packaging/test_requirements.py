import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ["requirements.txt", "requirements-dev.txt"]
REQUIREMENT = re.compile(r"^([a-z0-9.-]+)==(\S+)(.*)$", re.MULTILINE)


def requirements(name: str) -> dict[tuple[str, str], str]:
    """(name, version) -> the rest of the logical line: marker and hashes."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    return {(match[1], match[2]): match[3] for match in REQUIREMENT.finditer(text)}


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_is_pinned_and_hashed(name):
    found = requirements(name)
    assert len(found) > 20
    assert [key for key, rest in found.items() if "--hash=sha256:" not in rest] == []


@pytest.mark.parametrize("name", FILES)
def test_requirements_name_no_index_and_no_file_of_one_machine(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|@ ", text)


def test_development_has_exactly_the_versions_that_are_deployed():
    # A marker may differ: a development tool can want a library on more versions of Python.
    assert requirements("requirements.txt").keys() <= requirements("requirements-dev.txt").keys()
