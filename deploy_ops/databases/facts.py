"""What a migration meets in a database: how big its tables are, and what is proven about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

BYTES_PER_ROW = 100  # a guess for tables that were never analysed
# What Django's own functions become, for a database that cannot be asked.
VOLATILE = frozenset(
    "clock_timestamp gen_random_uuid nextval random setseed timeofday uuid_generate_v1"
    " uuid_generate_v4 uuidv4 uuidv7".split()
)

Column = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint as pg_constraint has it; `parent` is what a foreign key points to."""

    kind: str
    is_valid: bool
    parent: str | None


@dataclass(frozen=True, slots=True)
class TableFacts:
    """How big a table is; `rows` as last analysed, None if it never was."""

    rows: int | None
    heap_bytes: int
    total_bytes: int
    kind: str = "r"

    @property
    def is_empty(self) -> bool:
        """Whether it has no page at all, so that nothing in it can be read or written anew."""
        return self.heap_bytes == 0

    @property
    def likely_rows(self) -> int:
        """Rows, guessed from the size where they were never counted."""
        return self.heap_bytes // BYTES_PER_ROW if self.rows is None else self.rows


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one database; the default is what is known without asking it.

    Tables go by the name that the session finds them under, and by name with schema. `not_null`
    are the columns that a valid CHECK proves to hold no NULL, `checked` those in any CHECK,
    `indexed` those in any index;
    `views` are the views that read a column, `indexes` the table of each index, `constraints` go by
    table and name, `types` are those of columns. `is_complete` says that the database has no other
    tables than these.
    """

    server_version: int | None = None
    tables: Mapping[str, TableFacts] = field(default_factory=dict)
    not_null: frozenset[Column] = frozenset()
    checked: frozenset[Column] = frozenset()
    indexed: frozenset[Column] = frozenset()
    views: Mapping[Column, tuple[str, ...]] = field(default_factory=dict)
    indexes: Mapping[str, str] = field(default_factory=dict)
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    constraints: Mapping[Column, Constraint] = field(default_factory=dict)
    types: Mapping[Column, str] = field(default_factory=dict)
    volatile: frozenset[str] = VOLATILE
    is_complete: bool = False
