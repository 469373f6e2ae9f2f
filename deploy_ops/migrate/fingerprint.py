"""The schema as lines of text, so that two moments can be compared and their difference told.

Read from the catalog, not from Django's state: what counts after a failure is what is there.
"""

import hashlib
from dataclasses import dataclass
from typing import cast

from django.db.backends.base.base import BaseDatabaseWrapper

POSTGRESQL = """
WITH spaces AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
)
SELECT format('%s %s.%s persistence=%s security=%s', CASE c.relkind WHEN 'v' THEN 'view'
         WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' ELSE 'table' END,
         n.nspname, c.relname, c.relpersistence, c.relrowsecurity)
       || CASE WHEN c.relkind IN ('v', 'm') THEN ' ' || md5(pg_get_viewdef(c.oid)) ELSE '' END
  FROM pg_class c JOIN spaces n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','v','m','S','f')
UNION ALL
SELECT format('column %s.%s.%s %s null=%s default=%s identity=%s generated=%s collation=%s',
         n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
         pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attcollation::regcollation)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN spaces n ON n.oid = c.relnamespace
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT format('constraint %s on %s %s valid=%s', k.conname, k.conrelid::regclass,
         pg_get_constraintdef(k.oid), k.convalidated)
  FROM pg_constraint k JOIN spaces n ON n.oid = k.connamespace WHERE k.conrelid <> 0
UNION ALL
SELECT format('index %s.%s valid=%s %s', n.nspname, c.relname, i.indisvalid, pg_get_indexdef(c.oid))
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN spaces n ON n.oid = c.relnamespace
UNION ALL
SELECT format('trigger %s', pg_get_triggerdef(t.oid))
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN spaces n ON n.oid = c.relnamespace
  WHERE NOT t.tgisinternal
UNION ALL
SELECT format('function %s %s', p.oid::regprocedure, md5(p.prosrc))
  FROM pg_proc p JOIN spaces n ON n.oid = p.pronamespace
UNION ALL
SELECT format('policy %s on %s', polname, polrelid::regclass) FROM pg_policy
UNION ALL
SELECT format('enum %s %s', e.enumtypid::regtype, string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder))
  FROM pg_enum e GROUP BY e.enumtypid
UNION ALL
SELECT format('extension %s %s', extname, extversion) FROM pg_extension
"""

SQLITE = """
SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master
WHERE name NOT LIKE 'sqlite_%'
"""

QUERIES = {"postgresql": POSTGRESQL, "sqlite": SQLITE}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The lines of the schema and of django_migrations at one moment."""

    lines: frozenset[str]

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted lines."""
        return hashlib.sha256("\n".join(sorted(self.lines)).encode()).hexdigest()

    def difference(self, before: "Fingerprint") -> list[str]:
        """What came (+) and what went (-) since `before`."""
        came = [f"+ {line}" for line in self.lines - before.lines]
        gone = [f"- {line}" for line in before.lines - self.lines]
        return sorted(came) + sorted(gone)


def take_fingerprint(connection: BaseDatabaseWrapper) -> Fingerprint:
    """Read the schema of the connection's database; nothing is written."""
    with connection.cursor() as cursor:
        cursor.execute(QUERIES[connection.vendor])
        lines = {cast(str, row[0]) for row in cursor.fetchall()}
        if "django_migrations" in connection.introspection.table_names(cursor):
            cursor.execute("SELECT app, name FROM django_migrations")
            lines |= {f"migration {app}.{name}" for app, name in cursor.fetchall()}
    return Fingerprint(frozenset(lines))
