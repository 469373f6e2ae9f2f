"""How the file of a migration is written: its bytes as text, and other texts like it."""

import codecs
import tokenize
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from deploy_ops.phases.generate.fix.source import NotRewritable


@dataclass(frozen=True)
class Written:
    """The text with "\\n" at the ends of its lines; `mark` is a byte order mark, or nothing."""

    text: str
    line_end: str
    mark: str

    @classmethod
    def read(cls, path: Path) -> "Written":
        """Read a file; raises NotRewritable unless it is UTF-8."""
        data = path.read_bytes()
        mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
        encoding, _ = tokenize.detect_encoding(BytesIO(data.removeprefix(mark)).readline)
        if encoding != "utf-8":
            raise NotRewritable(f"it is written in {encoding}, not in UTF-8")
        text = data.removeprefix(mark).decode()
        ends = [each for each in ("\r\n", "\n", "\r") if each in text]
        lines = text.replace("\r\n", "\n").replace("\r", "\n")
        return cls(lines, line_end=ends[0] if ends else "\n", mark=mark.decode())

    def like(self, text: str) -> str:
        """Another text in the same form."""
        return self.mark + text.replace("\n", self.line_end)
