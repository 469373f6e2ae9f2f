"""Progress from what pg_dump and pg_restore say with --verbose; nothing is decided by it."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from deploy_ops.progress import Progress

_TABLE = re.compile(r'(?:dumping contents of|processing data for) table "(?P<name>.+)"$')


@contextmanager
def follow_tables(
    label: str, sizes: Mapping[str, int], jobs: int, progress: Progress
) -> Iterator[Callable[[str], None]]:
    """Yield a listener for lines; a table counts as done once `jobs` later ones have begun.

    `sizes` maps `schema.table`, unquoted as the programs print it, to bytes.
    """
    total = sum(sizes.values())
    begun: list[int] = []
    with progress.track(label, total) as report:

        def on_line(line: str) -> None:
            found = _TABLE.search(line)
            if found and found["name"] in sizes:
                begun.append(sizes[found["name"]])
                report(sum(begun[:-jobs]))

        yield on_line
        report(total)
