"""What CI says counts for the commit that it names."""

import json

import pytest

from deploy_ops.release.ci_status import ci_findings, read_ci_status

COMMIT = "0123456789abcdef" * 2 + "01234567"
GREEN = {"commit": COMMIT, "tests": "passed", "review": "approved"}


@pytest.fixture
def read(tmp_path):
    def read(content, commit=COMMIT):
        path = tmp_path / "ci.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_ci_status(path, commit)

    return read


def told(status, *confirmed):
    found = list(ci_findings(status, confirmed, "default"))
    assert {each.id for each in found} <= {"deploy_ops.R016"}
    return [(type(each).__name__, each.msg) for each in found]


def test_everything_is_green(read):
    status = read(GREEN)
    assert told(status) == []
    assert status.shown == ["tests", "review"]


def test_what_ci_does_not_say_a_person_may(read):
    status = read({"commit": COMMIT, "tests": "passed"})
    assert told(status) == []
    assert status.shown == ["tests"]


def test_what_has_failed_nobody_can_confirm(read):
    status = read(GREEN | {"tests": "failed"})
    expected = ("Error", "CI says of this commit: tests failed, and it has to be passed.")
    assert told(status) == [expected]
    assert told(status, "tests", "review") == [expected]
    assert status.shown == ["review"]


@pytest.mark.parametrize(
    ("content", "commit", "problem"),
    [
        (GREEN | {"commit": "f" * 40}, COMMIT, "is about commit ffffffffffff, and this code is 01"),
        ({"tests": "passed"}, COMMIT, "is about commit None"),
        (GREEN, None, "which commit this code is of is not known"),
        ("green", COMMIT, "is not a JSON object"),
    ],
)
def test_a_file_that_says_nothing_about_this_commit(read, content, commit, problem):
    status = read(content, commit)
    [(level, message)] = told(status)
    assert level == "Warning"
    assert problem in message
    assert status.shown == []
    assert told(status, "tests", "review") == []


def test_no_file(tmp_path):
    [(level, message)] = told(read_ci_status(tmp_path / "missing.json", COMMIT))
    assert level == "Warning"
    assert "cannot be read: No such file" in message
