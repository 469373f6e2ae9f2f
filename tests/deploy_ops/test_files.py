"""Files of lines: what a full disk and a crash leave behind does not spoil what comes later."""

import resource
from contextlib import contextmanager

import pytest

from deploy_ops.files import add_line, append_line, open_lines, read_lines


@contextmanager
def room_for(size_bytes: int):
    """The kernel writes a part and stops, as it does on a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_lines_are_read_as_they_were_added(tmp_path):
    path = tmp_path / "lines"
    add_line(path, {"text": "zwei\nZeilen", "path": tmp_path})
    add_line(path, {"number": 2})
    assert read_lines(path) == [{"text": "zwei\nZeilen", "path": str(tmp_path)}, {"number": 2}]
    assert path.stat().st_mode & 0o777 == 0o600


def test_line_for_which_there_was_half_the_room_is_taken_back(tmp_path):
    path = tmp_path / "lines"
    descriptor = open_lines(path)
    append_line(descriptor, {"number": 1})
    with room_for(path.stat().st_size + 5), pytest.raises(OSError, match="No space left on device"):
        append_line(descriptor, {"number": 2})
    append_line(descriptor, {"number": 3})
    assert read_lines(path) == [{"number": 1}, {"number": 3}]


@pytest.mark.parametrize("left", ['{"number": 2', '{"number": 2}'])
def test_half_a_line_that_a_crash_left_is_cut_off_before_the_next(tmp_path, left):
    path = tmp_path / "lines"
    add_line(path, {"number": 1})
    with path.open("a") as file:
        file.write(left)
    assert read_lines(path) == [{"number": 1}]
    add_line(path, {"number": 3})
    assert read_lines(path) == [{"number": 1}, {"number": 3}]


def test_file_of_half_a_line_alone(tmp_path):
    path = tmp_path / "lines"
    path.write_text('{"num')
    assert read_lines(path) == []
    add_line(path, {"number": 1})
    assert read_lines(path) == [{"number": 1}]
