"""Files of lines: what a full disk and a crash leave behind does not spoil what comes later."""

import os
import resource
from contextlib import contextmanager

import pytest

from deploy_ops.errors import ConfigurationError
from deploy_ops.files import (
    LIMIT_BYTES,
    add_line,
    append_line,
    open_lines,
    private_directory,
    read_lines,
    set_aside,
)


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
    assert read_lines(path).entries == [
        {"text": "zwei\nZeilen", "path": str(tmp_path)},
        {"number": 2},
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_line_for_which_there_was_half_the_room_is_taken_back(tmp_path):
    path = tmp_path / "lines"
    descriptor = open_lines(path)
    append_line(descriptor, {"number": 1})
    with room_for(path.stat().st_size + 5), pytest.raises(OSError, match="No space left on device"):
        append_line(descriptor, {"number": 2})
    append_line(descriptor, {"number": 3})
    assert read_lines(path).entries == [{"number": 1}, {"number": 3}]


@pytest.mark.parametrize("left", ['{"number": 2', '{"number": 2}'])
def test_half_a_line_that_a_crash_left_is_cut_off_before_the_next(tmp_path, left):
    path = tmp_path / "lines"
    add_line(path, {"number": 1})
    with path.open("a") as file:
        file.write(left)
    assert read_lines(path).entries == [{"number": 1}]
    add_line(path, {"number": 3})
    assert read_lines(path).entries == [{"number": 1}, {"number": 3}]


def test_file_of_half_a_line_alone(tmp_path):
    path = tmp_path / "lines"
    path.write_text('{"num')
    assert read_lines(path).entries == []
    add_line(path, {"number": 1})
    assert read_lines(path).entries == [{"number": 1}]


def test_line_that_is_no_json_object_is_passed_over_and_named(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(
        b'{"number": 1}\n\xff\xfe garbage\n[2]\n\0\0{"number": 3}\0\n'
        b'{"a": "\\ud800"}\n' + b"[" * 100_000 + b"\n" + b'{"n": ' + b"9" * 5000 + b"}\n"
    )
    lines = read_lines(path)
    assert lines.entries == [{"number": 1}, {"number": 3}]
    assert lines.damage == f"{path} has lines that cannot be read: 2, 3, 5, 6, 7"


def make_directory(path):
    path.mkdir()


def make_link(path):
    path.symlink_to("/etc/passwd")


def make_fifo(path):
    os.mkfifo(path)


def make_huge(path):
    path.touch()
    os.truncate(path, LIMIT_BYTES + 1)


KINDS = {
    make_directory: "it is not a file",
    make_link: "it is a symbolic link",
    make_fifo: "it is not a file",
    make_huge: "it is too large",
}


@pytest.mark.parametrize(("make", "why"), KINDS.items(), ids=lambda v: getattr(v, "__name__", ""))
def test_what_is_no_file_of_lines_is_named_and_not_waited_for(tmp_path, make, why):
    path = tmp_path / "lines"
    make(path)
    lines = read_lines(path)
    assert lines.entries == [] and why in lines.damage and str(path) in lines.damage


@pytest.mark.parametrize("make", [make_directory, make_link, make_fifo])
def test_adding_a_line_sets_aside_what_is_no_file(tmp_path, make, caplog):
    path = tmp_path / "lines"
    make(path)
    add_line(path, {"number": 1})
    assert read_lines(path).entries == [{"number": 1}]
    [aside] = tmp_path.glob("lines.damaged-*")
    assert aside.name in caplog.text
    assert "root:" not in path.read_text()  # the link was not followed


def test_set_aside_keeps_every_one(tmp_path):
    path = tmp_path / "file"
    for text in ("one", "two"):
        path.write_text(text)
        set_aside(path, "it is damaged")
    assert {each.read_text() for each in tmp_path.iterdir()} == {"one", "two"}


def test_directory_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "backups").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="is a symbolic link.*\n    readlink -f"):
        private_directory(tmp_path / "backups")


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: giving a directory away needs root")
def test_directory_of_another_user_is_refused(tmp_path):
    path = tmp_path / "dir ectory"
    path.mkdir(mode=0o700)
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user .uid 12345") as failure:
        private_directory(path)
    assert f"chown 0 '{path}'" in str(failure.value)


def test_fifo_in_place_of_a_directory_is_refused(tmp_path):
    os.mkfifo(tmp_path / "backups")
    with pytest.raises(ConfigurationError, match="cannot be made or read: File exists"):
        private_directory(tmp_path / "backups")
