"""What others do meanwhile: the old release, a colleague with psql, a job. Each on a session of its own.

A deed is acknowledged when its statement came back without an error: from then on its token has to
be found. Others wait a fraction of a second for a lock and then give up.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg

PATIENCE = "-c lock_timeout=150ms -c statement_timeout=1500ms"


@dataclass(frozen=True)
class Deed:
    """One thing that somebody else does when the run passes a point; `target` is a name in it."""

    number: int
    point: str
    kind: str
    target: str = ""

    @property
    def token(self) -> str:
        """What is looked for afterwards; empty where no row is written."""
        return f"ack-{self.number}-" if self.kind in HOMES else ""

    @property
    def home(self) -> str:
        """The table or column that the token is written to."""
        return HOMES.get(self.kind, "") or self.target

    def statement(self, vendor: str) -> str:
        """Its SQL."""
        given = {"n": 1000 + self.number, "token": self.token, "target": self.target}
        text = STATEMENTS[vendor].get(self.kind) or STATEMENTS["both"][self.kind]
        return text.format(**given)


HOMES = {
    "trip_insert": "plan_trip",
    "trip_update": "plan_trip",
    "receipt_insert": "plan_receipt",
    "side_insert": "plan_side",
    "open_insert": "plan_side",
    "new_row": "",
    "new_value": "",
    "make_table": "others",
}
STATEMENTS = {
    "both": {
        "trip_insert": "INSERT INTO plan_trip (id, purpose, km, cost) VALUES ({n}, '{token}', 7, 2)",
        "trip_update": "UPDATE plan_trip SET purpose = '{token}' WHERE id = 2",
        "receipt_insert": "INSERT INTO plan_receipt (id, text, trip_id) VALUES ({n}, '{token}', 1)",
        "side_insert": "INSERT INTO plan_side (id, text) VALUES ({n}, '{token}')",
        "open_insert": "INSERT INTO plan_side (id, text) VALUES ({n}, '{token}')",
        "side_delete": "DELETE FROM plan_side WHERE id = 1",
        "new_row": "INSERT INTO {target} (id, text) VALUES ({n}, '{token}')",
        "new_value": "UPDATE plan_trip SET {target} = '{token}' WHERE id = 3",
        "make_table": "CREATE TABLE others_{n} AS SELECT '{token}' AS text",
        "make_view": "CREATE VIEW others_{n} AS SELECT text FROM plan_side",
    },
    "postgresql": {
        "side_truncate": "TRUNCATE plan_side",
        "make_index": "CREATE INDEX CONCURRENTLY others_{n} ON plan_trip (km)",
        "make_function": "CREATE FUNCTION others_{n}() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "make_partition": "CREATE TABLE others_{n} PARTITION OF plan_parts FOR VALUES IN ({n})",
        "comment": "COMMENT ON TABLE plan_side IS '{n}'",
        "grant": "GRANT SELECT ON plan_side TO PUBLIC",
        "storage": "ALTER TABLE plan_side SET (fillfactor = 50)",
        "trigger_off": "ALTER TABLE plan_receipt DISABLE TRIGGER USER",
    },
    "sqlite": {
        "side_truncate": "DELETE FROM plan_side",
        "make_index": "CREATE INDEX others_{n} ON plan_trip (km)",
    },
}
ANYWHERE = ["trip_insert", "trip_update", "receipt_insert", "side_insert", "side_delete"]
ANYWHERE += ["side_truncate", "make_table", "make_view", "make_index"]
ON_POSTGRESQL = ["make_function", "make_partition", "comment", "grant", "storage", "trigger_off"]


def connect(vendor: str, place: str) -> Any:
    """A session of somebody else's."""
    if vendor == "sqlite":
        return sqlite3.connect(place, timeout=0.05, isolation_level=None)
    return psycopg.connect(place, autocommit=True, options=PATIENCE, connect_timeout=3)


def do(deed: Deed, vendor: str, place: str) -> bool:
    """Do it; whether it is acknowledged."""
    try:
        with closing(connect(vendor, place)) as session:
            cursor = session.execute(deed.statement(vendor))
            return cursor.rowcount != 0 or deed.kind != "trip_update" and deed.kind != "new_value"
    except (psycopg.Error, sqlite3.Error):
        return False
