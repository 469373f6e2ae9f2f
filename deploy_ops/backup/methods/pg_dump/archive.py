"""What an archive directory of pg_dump says about itself, and reading it to its last byte.

The layout of the head of toc.dat is ReadHead in PostgreSQL's pg_backup_archiver.c: the magic
word, the archive's version, the sizes of integers and offsets, the format, the compression,
then the time, the database's name, and the versions of server and pg_dump.
"""

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from deploy_ops.databases.postgresql.programs import find_reader
from deploy_ops.errors import BackupCorrupt, ProgramError
from deploy_ops.process import run

TOC = "toc.dat"
MAGIC = b"PGDMP"
GZIP_MAGIC = b"\x1f\x8b"
FATAL = 1  # how pg_restore itself ends when it cannot go on
HEAD_BYTES = 4096
NUMBERS_OF_TIME = 7
COMPRESSION_BECAME_A_BYTE = (1, 15)  # K_VERS_1_15, PostgreSQL 16


@dataclass(frozen=True, slots=True)
class Header:
    """The versions in the head of an archive."""

    archive_version: str
    server: str
    pg_dump: str

    @property
    def dump_major(self) -> int:
        """Major version of the pg_dump that wrote it."""
        return int(re.match(r"\d+", self.pg_dump)[0])  # type: ignore[index]


def read_header(directory: Path) -> Header:
    """Read the head of the archive; raises BackupCorrupt if it has none."""
    try:
        with (directory / TOC).open("rb") as file:
            return _parse(BytesIO(file.read(HEAD_BYTES)))
    except FileNotFoundError:
        raise BackupCorrupt(f"The archive has no {TOC}.") from None
    except (ValueError, IndexError):
        raise BackupCorrupt(f"The head of {TOC} is damaged.") from None


def read_through(directory: Path) -> None:
    """Read an archive to its last byte as a restore would; raises BackupCorrupt, ProgramError."""
    program = find_reader(read_header(directory).dump_major)
    _check_compression(directory)
    try:
        run([program.path, "--file=/dev/null", str(directory)])
    except ProgramError as error:
        if error.returncode != FATAL:
            raise  # killed, or could not run at all: that says nothing about the archive
        raise BackupCorrupt(
            f"The archive cannot be read to its end. The database was not changed.\n{error}"
        ) from error


def _check_compression(directory: Path) -> None:
    """zlib hands out a file without its magic number as it is, and pg_restore takes that."""
    for path in sorted(directory.glob("*.gz")):
        with path.open("rb") as file:
            if file.read(len(GZIP_MAGIC)) != GZIP_MAGIC:
                raise BackupCorrupt(f"{path.name} in the archive does not begin as a gzip file.")


def _parse(head: BinaryIO) -> Header:
    if head.read(len(MAGIC)) != MAGIC:
        raise ValueError(MAGIC)
    version = tuple(head.read(3))
    int_bytes, _offset_bytes, _format = head.read(3)
    if version[:2] >= COMPRESSION_BECAME_A_BYTE:
        head.read(1)
    else:
        _integer(head, int_bytes)
    for _ in range(NUMBERS_OF_TIME):
        _integer(head, int_bytes)
    _dbname, server, pg_dump = (_text(head, int_bytes) for _ in range(3))
    if not re.match(r"\d+", pg_dump):
        raise ValueError(pg_dump)
    return Header(".".join(map(str, version)), server, pg_dump)


def _integer(head: BinaryIO, int_bytes: int) -> int:
    sign = head.read(1)[0]
    value = int.from_bytes(head.read(int_bytes), "little")
    return -value if sign else value


def _text(head: BinaryIO, int_bytes: int) -> str:
    length = _integer(head, int_bytes)
    if not 0 <= length <= HEAD_BYTES:
        raise ValueError(length)
    return head.read(length).decode()
