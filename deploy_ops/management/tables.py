"""Tables for people: headings and aligned columns, as plain text in a pipe, fitted to a terminal.

Set here and not by rich, which needs 3 s for the 5000 rows that a catalog may have.
"""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import zip_longest

from django.utils import timezone

GAP = "  "
NARROWEST = 10  # columns in which words can still be read
Row = Sequence[str]
Style = Callable[[str], str]


def table(headings: Row, rows: Iterable[Row], *, width: int | None, style: Style = str) -> str:
    """The text of a table; with a `width` cells are folded to it, the widest columns first.

    The first column, which has names and ids, is never folded. Where that is not enough, each row
    is a block of lines, a heading and its value in each.
    """
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(headings, *cells, strict=True)]
    fitted = widths if width is None else _fitted(widths, width)
    if fitted is None:
        return "\n\n".join(_block(headings, row, style) for row in cells)
    fold = _line if fitted == widths else _folded
    return "\n".join([style(fold(headings, fitted)), *(fold(row, fitted) for row in cells)])


def local_time(moment: datetime, form: str = "%Y-%m-%d %H:%M") -> str:
    """A moment in TIME_ZONE; with the name of the zone in the hour that autumn has twice."""
    local = timezone.localtime(moment)
    is_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    return f"{local:{form}} {local:%Z}" if is_twice else f"{local:{form}}"


def _line(row: Row, widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
    return GAP.join(padded).rstrip()


def _fitted(widths: Sequence[int], room: int) -> Sequence[int] | None:
    """Widths of the columns for so much room; None if words could no longer be read in them."""
    fitted = list(widths)
    while sum(fitted) + len(GAP) * (len(fitted) - 1) > room:
        widest = max(fitted[1:], default=0)
        if widest <= NARROWEST:
            return None
        fitted[fitted.index(widest, 1)] -= 1
    return fitted


def _folded(row: Row, widths: Sequence[int]) -> str:
    """The lines of a row."""
    lines = zip_longest(*map(_wrapped, row, widths), fillvalue="")
    return "\n".join(_line(line, widths) for line in lines)


def _wrapped(cell: str, room: int) -> Sequence[str]:
    if _width(cell) == len(cell):
        return textwrap.wrap(cell, room) or [""]
    from rich.cells import chop_cells  # knows how wide letters are

    return chop_cells(cell, room)


def _block(headings: Row, row: Row, style: Style) -> str:
    widest = max(map(_width, headings))
    named = zip(headings, row, strict=True)
    return "\n".join(f"{style(name.ljust(widest))}{GAP}{cell}" for name, cell in named if cell)


def _width(text: str) -> int:
    """How many columns of a terminal it takes; Chinese and Japanese letters take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # seldom needed

    return cell_len(text)
