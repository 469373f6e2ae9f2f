"""Single tables and rows of a SQLite database, for `restore --table` and `restore --rows`."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from django.db import connections

from deploy_ops.databases.rows import Query, RowsBeside, not_found, refuse
from deploy_ops.databases.sqlite import querying, replacing
from deploy_ops.databases.sqlite.copying import connected
from deploy_ops.databases.sqlite.schema import KEPT_PREFIX
from deploy_ops.databases.sqlite.shape import quoted, refusals
from deploy_ops.databases.values import Counts

NAMES = (
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%'"
)
LIVE = "main"


class SqliteRows(RowsBeside):
    """What a file is asked about its tables."""

    alias: str

    @property
    @abstractmethod
    def path(self) -> Path:
        """The live file."""

    @abstractmethod
    def path_beside(self, name: str) -> Path:
        """A file beside it."""

    def find_tables(self, given: Sequence[str], saved: Counts) -> list[str]:
        """Tables by their names, which SQLite compares without case; raises UsageError."""
        with connected(self.path) as live:
            known = [name for (name,) in live.execute(NAMES).fetchall()]
            names = [self._named(word, known) for word in given]
            refuse([each for name in names for each in refusals(live, LIVE, name)])
        for name in names:
            if name not in saved:
                raise not_found(name, "the backup", [*saved], self.alias)
        return list(dict.fromkeys(names))

    def _named(self, given: str, known: Sequence[str]) -> str:
        bare = given[1:-1].replace('""', '"') if given[:1] == given[-1:] == '"' else given
        bare = bare.removeprefix(f"{LIVE}.").lower()
        if found := [name for name in known if name.lower() == bare]:
            return found[0]
        raise not_found(given, str(self.path), known, self.alias)

    @contextmanager
    def replacing(
        self, beside: str, tables: Sequence[str]
    ) -> Iterator[replacing.SqliteReplacement]:
        """Bring the rows of both files together; raises RestoreRefused, RestoreFailed."""
        connections[self.alias].close()
        with replacing.replacing(
            self.path, self.path_beside(beside), tables, self.alias
        ) as replacement:
            yield replacement

    def kept_name(self, table: str, stamp: str) -> str:
        """Name of a kept table."""
        return quoted(f"{KEPT_PREFIX}{table}_{stamp}")

    def has_kept(self, name: str) -> bool:
        """Whether it is there; SQLite has undone what a killed process had not committed."""
        with connected(self.path) as live, closing(live.cursor()) as cursor:
            found = cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return name in {quoted(each) for (each,) in found}

    @contextmanager
    def querying(self, name: str, query: str) -> Iterator[Query]:
        """Run one query, which can only read."""
        with querying.querying(self.path_beside(name), query, self.alias) as found:
            yield found
