"""Questions that a script asks the server itself before it goes on; each stops it on a no.

A restore in place is one transaction of psql: only inside it can be proven where it is, and before
its COMMIT that everything came back.
"""

import json
from collections.abc import Mapping

from psycopg import sql

from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.methods.base import Unchanged
from deploy_ops.databases.postgresql import write_position
from deploy_ops.databases.postgresql.same import IDENTITY, WhichDatabase
from deploy_ops.databases.postgresql.tables import TABLES

FIRST_XID = 3  # those below are special, and age() says nothing of them
_PLACE = """
DO $deploy_ops$ BEGIN
    IF ({identity}) <> {expected} THEN
        RAISE EXCEPTION 'psql is connected to another database than the one that was looked at';
    END IF;
END $deploy_ops$;
"""
_CONTENTS = """
DO $deploy_ops$
DECLARE
    expected jsonb := {counts};
    found jsonb := '{{}}';
    place record;
    number bigint;
BEGIN
    FOR place IN {tables} LOOP
        EXECUTE format('SELECT count(*) FROM ONLY %I.%I', place.nspname, place.relname)
            INTO number;
        found := found || jsonb_build_object(place.name, number);
    END LOOP;
    IF found <> expected THEN
        RAISE EXCEPTION 'what was restored is not what was backed up; tables with other rows: %', (
            SELECT string_agg(coalesce(f.key, e.key), ', ') FROM jsonb_each(found) AS f
            FULL JOIN jsonb_each(expected) AS e USING (key) WHERE f.value IS DISTINCT FROM e.value);
    END IF;
    IF (SELECT count(*) FROM pg_largeobject_metadata) <> {large_objects} THEN
        RAISE EXCEPTION 'not all large objects were restored';
    END IF;
END $deploy_ops$;
"""
# The drops lock the same tables. A row's xmin says which transaction wrote it, frozen or not: an
# UPDATE changes no number of rows. Frozen rows may be older than age() can tell, which makes them
# younger than the youngest. What cannot be locked, large objects and the schema, only the counters
# tell of.
_CHANGE = """
DO $deploy_ops$
DECLARE
    expected jsonb := {counts};
    counters jsonb := {counters};
    found jsonb := '{{}}';
    changed text[];
    place record;
    number bigint;
    newer bigint;
    youngest int;
BEGIN
    FOR place IN {tables} LOOP
        EXECUTE format('LOCK TABLE ONLY %I.%I IN ACCESS EXCLUSIVE MODE',
            place.nspname, place.relname);
    END LOOP;
    SELECT array_agg(relation.name ORDER BY 1) INTO changed
    FROM ({all_tables}) AS relation (oid, name, file, unlogged, changes)
    WHERE changes > coalesce((counters ->> oid::text)::bigint, 0);
    youngest := age(pg_snapshot_xmax(pg_current_snapshot())::xid);
    FOR place IN {tables} LOOP
        EXECUTE format('SELECT count(*), count(*) FILTER (WHERE age(xmin) BETWEEN %s AND %s)'
            ' FROM ONLY %I.%I', youngest, age({first}::xid), place.nspname, place.relname)
            INTO number, newer;
        found := found || jsonb_build_object(place.name, number);
        IF newer > 0 OR (expected -> place.name) IS DISTINCT FROM to_jsonb(number) THEN
            changed := changed || place.name;
        END IF;
    END LOOP;
    IF found <> expected OR changed IS NOT NULL THEN
        RAISE EXCEPTION 'others may have written since what would be lost was counted, and '
            'restoring would lose it; written since: %',
            coalesce((SELECT string_agg(DISTINCT name, ', ') FROM unnest(changed) AS name),
                'tables that are gone');
    END IF;
END $deploy_ops$;
"""
# Where a setting may not be set by this role, the one that the session has stays.
_SETTING = """
DO $deploy_ops$ BEGIN
    PERFORM set_config({name}, {value}, true);
EXCEPTION WHEN insufficient_privilege OR undefined_object THEN NULL;
END $deploy_ops$;
"""


def place_guard(where: WhichDatabase) -> str:
    """Stop unless the session is in this database of this cluster."""
    expected = f"{where.system_identifier} {where.oid} {where.name}"
    return _text(_PLACE, identity=sql.SQL(IDENTITY), expected=sql.Literal(expected))


def change_guard(unchanged: Unchanged) -> str:
    """Lock every table; stop unless each has these rows, and nothing was written later."""
    first = max(FIRST_XID, int(unchanged.write_position["oldest_xid"]) % 2**32)
    tables = unchanged.write_position["tables"].items()
    return _text(
        _CHANGE,
        counts=_json(unchanged.counts),
        counters=_json({oid: table["changes"] for oid, table in tables}),
        all_tables=sql.SQL(write_position.TABLES),
        tables=sql.SQL(TABLES),
        first=sql.Literal(str(first)),
    )


def contents_guard(manifest: Manifest) -> str:
    """Stop unless every table has the rows that the manifest counts, and no other is there."""
    return _text(
        _CONTENTS,
        counts=_json(manifest.counts),
        tables=sql.SQL(TABLES),
        large_objects=sql.Literal(manifest.extra["large_objects"]),
    )


def set_locally(name: str, value: str) -> str:
    """Give the transaction a setting, if that is allowed."""
    return _text(_SETTING, name=sql.Literal(name), value=sql.Literal(value))


def _json(values: Mapping[str, int]) -> sql.Literal:
    """Names as they are: not every encoding of a database has what \\uXXXX stands for."""
    return sql.Literal(json.dumps(dict(values), ensure_ascii=False))


def _text(template: str, **values: sql.Composable) -> str:
    return sql.SQL(template).format(**values).as_string(None)
