"""Sessions that write as code of one release does, each its own rows, and know what is in them."""

import itertools
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

NUMBERS = itertools.count(100_000)
# An UPDATE of two rows may lose a race with a backfill, and is then done again, as code does it.
LOST = (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable)


@dataclass(frozen=True)
class Kind:
    """A change of one column: the field before, the operation, and how each code writes a number.

    `{name}` is the field. What is `unique` may be the target of ON CONFLICT.
    """

    before: str
    operation: str
    column: str = "{name}"
    old: Callable[[int | None], Any] = lambda number: number
    new: Callable[[int | None], Any] = lambda number: number
    unique: bool = False
    fills: Any = None

    def final(self, number: int | None) -> Any:
        """What new code reads in the end."""
        value = self.new(number)
        return self.fills if value is None else value


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _json(number: int | None) -> Any:
    return None if number is None else psycopg.types.json.Json({"n": number, "a": [number]})


RENAME = 'RenameFieldOnline("order", "{name}", "{name}_new"),'
TYPE = 'ChangeTypeOnline("order", "{name}", models.{field}),'
NEW = "{name}_new"


def _changed(field: str) -> str:
    return TYPE.replace("{field}", field)


KINDS = {
    "renamed text": Kind("CharField(max_length=20, null=True)", RENAME, NEW, _text, _text),
    "renamed number": Kind("IntegerField(unique=True)", RENAME, NEW, unique=True),
    "renamed key": Kind("DecimalField(max_digits=9, decimal_places=2, db_index=True)", RENAME, NEW),
    "renamed json": Kind("JSONField(null=True)", RENAME, NEW, _json, _json),
    "wider": Kind(
        "IntegerField(unique=True)", _changed("BigIntegerField(unique=True)"), unique=True
    ),
    "narrower": Kind("BigIntegerField(db_index=True)", _changed("IntegerField(db_index=True)")),
    "digits": Kind(
        "DecimalField(max_digits=9, decimal_places=2, null=True)",
        _changed("DecimalField(max_digits=12, decimal_places=4, null=True)"),
    ),
    "text to number": Kind(
        "CharField(max_length=20, unique=True)",
        _changed("IntegerField(unique=True, db_column='{name}_new')"),
        NEW,
        old=_text,
        unique=True,
    ),
    "number to text": Kind(
        "IntegerField(null=True)",
        _changed("TextField(null=True, db_column='{name}_new')"),
        NEW,
        new=_text,
    ),
    "not null": Kind(
        "IntegerField(null=True)",
        'EnforceNotNull("order", "{name}", models.IntegerField(default=7)),',
        fills=7,
    ),
}


class Table:
    """Rows by key, with the number that was written last, and how each code writes it."""

    def __init__(self, kinds: dict[str, Kind]) -> None:
        self.kinds = kinds
        self.rows: dict[int, int | None] = {}

    def columns(self, *, is_new: bool) -> list[str]:
        """The columns that a code has."""
        return [
            f'"{kind.column.format(name=name)}"' if is_new else f'"{name}"'
            for name, kind in self.kinds.items()
        ]

    def values(self, number: int | None, *, is_new: bool) -> list[Any]:
        """What a code writes."""
        return [(kind.new if is_new else kind.old)(number) for kind in self.kinds.values()]

    def assert_rows(self, connection: Any, *, is_new: bool) -> None:
        """Compare with what the database has; a column may be filled where nothing was written."""
        columns = ", ".join(self.columns(is_new=is_new))
        rows = connection.execute(f"SELECT id, {columns} FROM shop_order").fetchall()
        found = {key: tuple(map(_plain, values)) for key, *values in rows}
        wanted = {
            key: tuple(map(_plain, self._read(row, is_new))) for key, row in self.rows.items()
        }
        wrong = {
            key: (found.get(key), wanted.get(key))
            for key in found.keys() | wanted.keys()
            if found.get(key) != wanted.get(key)
        }
        assert not wrong, (len(wrong), dict(itertools.islice(wrong.items(), 5)))

    def _read(self, number: int | None, is_new: bool) -> list[Any]:
        return [
            kind.final(number) if is_new or kind.fills is not None else kind.old(number)
            for kind in self.kinds.values()
        ]


def _plain(value: Any) -> Any:
    if isinstance(value, psycopg.types.json.Json):
        value = value.obj
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


class Writer:
    """Writes its own rows until it is stopped; what PostgreSQL refuses ends it, and is kept."""

    def __init__(
        self, table: Table, connect: Callable[[], Any], seed: int, *, is_new: bool
    ) -> None:
        self.table, self.is_new = table, is_new
        self.own: list[int] = []
        self.failure: BaseException | None = None
        self.written = 0
        self._connect, self._random = connect, random.Random(seed)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._columns = table.columns(is_new=is_new)
        kinds = list(table.kinds.values())
        # New code has no NULL where it is enforced; old code's is filled.
        self._is_nullable = all(
            "null=True" in each.before and not (is_new and each.fills is not None) for each in kinds
        )
        self._targets = [
            column for column, each in zip(self._columns, kinds, strict=True) if each.unique
        ]

    def start(self) -> None:
        """Write until it is stopped."""
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._connect() as connection:
                connection.prepare_threshold = None  # as Django has it
                while not self._stopped.wait(self._random.uniform(0, 0.004)):
                    self._try(self._random.choice(self._deeds()), connection)
        except BaseException as error:  # told by `stop`, in the thread of the test
            self.failure = error

    def stop(self) -> None:
        """End it; raise what it met."""
        self._stopped.set()
        self._thread.join()
        if self.failure is not None:
            raise AssertionError(f"{self._columns}, is_new={self.is_new}") from self.failure

    def _deeds(self) -> list[Callable[[Any], None]]:
        if len(self.own) < 2:
            return [self._insert]
        upserts = [self._upsert] if self._targets else []
        return [
            self._insert,
            self._update,
            self._update,
            self._other,
            self._two,
            self._delete,
            *upserts,
        ]

    def _try(self, deed: Callable[[Any], None], connection: Any) -> None:
        try:
            deed(connection)
            self.written += 1
        except LOST:
            pass

    def _number(self) -> int | None:
        if self._is_nullable and self._random.random() < 0.2:
            return None
        return next(NUMBERS)

    def _values(self, number: int | None) -> list[Any]:
        return self.table.values(number, is_new=self.is_new)

    def _insert(self, connection: Any) -> None:
        number = self._number()
        places = ", ".join(["%s"] * len(self._columns))
        sql = f"INSERT INTO shop_order (km, {', '.join(self._columns)}) VALUES (1, {places})"
        [(key,)] = connection.execute(f"{sql} RETURNING id", self._values(number)).fetchall()
        self.table.rows[key] = number
        self.own.append(key)

    def _update(self, connection: Any) -> None:
        key, number = self._random.choice(self.own), self._number()
        self._write(connection, key, number)
        self.table.rows[key] = number

    def _write(self, connection: Any, key: int, number: int | None) -> None:
        """As `save()` does: every column."""
        assigned = ", ".join(f"{each} = %s" for each in self._columns)
        sql = f"UPDATE shop_order SET km = km, {assigned} WHERE id = %s"
        assert connection.execute(sql, [*self._values(number), key]).rowcount == 1

    def _other(self, connection: Any) -> None:
        key = self._random.choice(self.own)
        connection.execute("UPDATE shop_order SET km = km + 1 WHERE id = %s", [key])

    def _two(self, connection: Any) -> None:
        """In one transaction, in whatever order."""
        numbers = {key: self._number() for key in self._random.sample(self.own, 2)}
        with connection.transaction():
            for key, number in numbers.items():
                self._write(connection, key, number)
        self.table.rows |= numbers

    def _delete(self, connection: Any) -> None:
        key = self.own.pop(self._random.randrange(len(self.own)))
        assert connection.execute("DELETE FROM shop_order WHERE id = %s", [key]).rowcount == 1
        del self.table.rows[key]

    def _upsert(self, connection: Any) -> None:
        """What is there already, so that it becomes an UPDATE."""
        key = self._random.choice(self.own)
        target, places = self._random.choice(self._targets), ", ".join(["%s"] * len(self._columns))
        sql = (
            f"INSERT INTO shop_order (km, {', '.join(self._columns)}) VALUES (1, {places})"
            f" ON CONFLICT ({target}) DO UPDATE SET km = 5 RETURNING id"
        )
        values = self._values(self.table.rows[key])
        assert connection.execute(sql, values).fetchall() == [(key,)]
