"""What the server really did: locks, rewrites, scans, index builds, checked keys, updated rows.

debug1 tells of rewriting, verifying and building; pg_locks of this session is what is still held
at the end of the transaction, which is then rolled back.
"""

import re
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connections, transaction

from deploy_ops.migrate.lint.impact import Lock, Work

NOTICES = {
    Work.REWRITE: re.compile(r'^rewriting table "(.*)"$'),
    Work.SCAN: re.compile(r'^verifying table "(.*)"$'),
    Work.BUILD: re.compile(r'^building index ".*" on table "(.*)" (?:serially|with request)'),
}
VALIDATES = re.compile(r'^validating foreign key constraint "(.*)"$')
MODES = {lock.name.title().replace("_", "") + "Lock": lock for lock in Lock}
FILES = "SELECT oid, relfilenode FROM pg_class WHERE oid = ANY(%s)"
TABLES = """
    SELECT oid, relname FROM pg_class WHERE relkind IN ('r', 'p', 'm')
    AND relnamespace = 'public'::regnamespace
"""
LOCKS = "SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation IS NOT NULL"
UPDATED = "SELECT oid, pg_stat_get_xact_tuples_updated(oid) FROM unnest(%s::oid[]) AS oid"
KEYS = "SELECT conname, conrelid FROM pg_constraint WHERE contype = 'f'"


@dataclass
class Deeds:
    """By table that was there before: the strongest lock, and the kinds of work."""

    locks: dict[str, Lock] = field(default_factory=dict)
    works: dict[str, set[Work]] = field(default_factory=lambda: defaultdict(set))

    def add_lock(self, table: str, lock: Lock) -> None:
        if lock >= Lock.SHARE_UPDATE_EXCLUSIVE:
            self.locks[table] = max(lock, self.locks.get(table, Lock.NONE))

    def add_work(self, table: str, work: Work) -> None:
        if work is not Work.NONE:
            self.works[table].add(work)

    def plain(self) -> dict[str, str]:
        """To be compared: a rewrite builds the indexes and checks the columns anew by itself."""
        hidden = {Work.BUILD, Work.SCAN}
        plain = {}
        for table in sorted({*self.locks, *self.works}):
            works = self.works.get(table, set())
            shown = works - hidden if Work.REWRITE in works else works
            plain[table] = " ".join(
                [self.locks.get(table, Lock.NONE).name, *sorted(work.value for work in shown)]
            )
        return plain


class Watch:
    """One session, and the tables that were there before."""

    def __init__(self, alias: str) -> None:
        self.connection = connections[alias]
        self.alias = alias
        self.notices: list[str] = []
        self.connection.ensure_connection()
        self.connection.connection.add_notice_handler(self._note)

    def _note(self, notice) -> None:
        self.notices.append(notice.message_primary)

    def query(self, sql, params=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall()

    @contextmanager
    def rolled_back(self, deeds: Deeds):
        """Do it, look, and undo it."""
        before = dict(self.query(TABLES))
        with transaction.atomic(self.alias):
            with self.connection.cursor() as cursor:
                cursor.execute("SET LOCAL client_min_messages = debug1")
            self.notices.clear()
            files = dict(self.query(FILES, [list(before)]))
            updated = self.query(UPDATED, [list(before)])
            yield
            self._look(before, deeds, set(updated))
            self._look_at_files(before, deeds, files)
            transaction.set_rollback(True, self.alias)

    def _look_at_files(self, before: dict[int, str], deeds: Deeds, files: dict) -> None:
        """A new file is a table written anew, also where no notice says so; or one emptied."""
        now = dict(self.query(TABLES))
        for oid, file in self.query(FILES, [list(before)]):
            if file != files[oid]:
                [(has_rows,)] = self.query(f'SELECT EXISTS (SELECT FROM "{now[oid]}")')
                works = deeds.works[before[oid]]
                deeds.works[before[oid]] = works | {Work.REWRITE} if has_rows else set()

    def _look(self, before: dict[int, str], deeds: Deeds, updated: set) -> None:
        notices = list(self.notices)
        for oid, mode in self.query(LOCKS):
            if oid in before:
                deeds.add_lock(before[oid], MODES[mode])
        for oid, _ in {*self.query(UPDATED, [list(before)])} - updated:
            deeds.add_work(before[oid], Work.UPDATE)
        now, keys = dict(self.query(TABLES)), dict(self.query(KEYS))
        names = {now.get(oid, name): name for oid, name in before.items()} | {
            name: name for name in before.values()
        }
        for notice in notices:
            for work, pattern in NOTICES.items():
                if (found := pattern.match(notice)) and found[1] in names:
                    deeds.add_work(names[found[1]], work)
            if found := VALIDATES.match(notice):
                if keys[found[1]] in before:
                    deeds.add_work(before[keys[found[1]]], Work.CHECK_KEYS)
