"""Tables for people: headings, aligned columns; as wide as the terminal, or as it takes."""

from collections.abc import Iterable, Sequence
from io import StringIO

PIPED_WIDTH = 10_000


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, is_terminal: bool) -> str:
    """The text of a table."""
    # Imported here: rich takes longer to load than most commands.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(*headings, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        shown.add_row(*map(Text, row))
    file = StringIO()
    console = Console(
        file=file, width=None if is_terminal else PIPED_WIDTH, force_terminal=is_terminal
    )
    console.print(shown)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())
