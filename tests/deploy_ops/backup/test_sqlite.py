"""SQLite on real files, in both families of journal modes, with others at work."""

import multiprocessing
import os
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
from django.db import connections
from django.db.backends.signals import connection_created

from deploy_ops.backup.methods import method_for
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Answer
from deploy_ops.databases.sqlite import copying
from deploy_ops.errors import (
    BackupCorrupt,
    BackupError,
    BackupFailed,
    ConfigurationError,
    RestoreFailed,
    RestoreRefused,
)
from deploy_ops.progress import Silent
from tests.deploy_ops.backup.manifests import manifest_of

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
STAMP = "20260131T020000Z"


@pytest.fixture(params=["wal", "delete", "truncate", "persist"])
def journal_mode(request, trips):
    trips.execute(f"PRAGMA journal_mode = {request.param}")
    return request.param


@pytest.fixture
def method(trips, django_alias):
    return method_for(django_alias)


@pytest.fixture
def live(trips, django_alias):
    return database_for(django_alias)


@pytest.fixture
def dumped(method, live, tmp_path):
    """A dump of three trips, and its manifest as far as the method needs it."""
    directory = tmp_path / "dumped"
    directory.mkdir(mode=0o700)
    snapshot = method.dump(directory, jobs=1, progress=Silent())
    return directory, manifest_of(live.identify(), snapshot), snapshot


def restore(method, dumped, kind="restoring"):
    directory, manifest, _ = dumped
    name = method.database.name_beside(f"{kind}_{STAMP}")
    method.restore_beside(directory, manifest, name=name, jobs=1, progress=Silent())
    return name


def rows(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT purpose FROM trip ORDER BY id").fetchall()


def test_what_is_only_in_the_wal_is_in_the_dump(method, trips, tmp_path):
    trips.execute("PRAGMA journal_mode = wal")
    with closing(trips.connect()) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.executemany("INSERT INTO trip (purpose) VALUES (?)", [("x",)] * 5000)
        snapshot = method.dump(tmp_path, jobs=1, progress=Silent())
    assert snapshot.counts == {"trip": 5003}
    assert len(rows(tmp_path / "database.sqlite3")) == 5003


def test_a_dump_is_one_moment_while_others_write(method, trips, tmp_path, journal_mode):
    trips.execute("CREATE TABLE mirror (id integer PRIMARY KEY)")
    stop = threading.Event()

    def write_pairs():
        with closing(sqlite3.connect(trips.path, timeout=30, isolation_level=None)) as connection:
            while not stop.is_set():
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO trip (purpose) VALUES ('pair')")
                connection.execute("INSERT INTO mirror DEFAULT VALUES")
                connection.execute("COMMIT")
                time.sleep(0.002)

    writer = threading.Thread(target=write_pairs)
    writer.start()
    try:
        for number in range(10):
            directory = tmp_path / str(number)
            directory.mkdir()
            counts = method.dump(directory, jobs=1, progress=Silent()).counts
            assert counts["trip"] == counts["mirror"] + 3
            method.read_through(directory)
    finally:
        stop.set()
        writer.join()


def test_a_writer_that_never_ends_ends_the_dump(method, trips, tmp_path, monkeypatch):
    monkeypatch.setattr(copying, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(copying, "LOCK_SECONDS", 0.1)
    with closing(trips.connect()) as hog:
        hog.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Exception, match="locked|no progress"):
            method.dump(tmp_path, jobs=1, progress=Silent())


def test_a_stalled_dump_says_how_to_allow_reading_beside_writing(
    method, live, trips, tmp_path, monkeypatch
):
    live.write_position()
    monkeypatch.setattr(copying, "STALL_SECONDS", 0.0)
    monkeypatch.setattr(copying, "COPY_PAGES", 1)

    class Busy(sqlite3.Connection):
        def backup(self, target, *, pages, progress, sleep):
            for _ in range(3):
                progress(sqlite3.SQLITE_BUSY, 10, 10)

    monkeypatch.setattr(copying.sqlite3, "connect", lambda *a, **o: _connect(*a, **o, factory=Busy))
    with pytest.raises(BackupFailed, match="PRAGMA journal_mode = WAL"):
        method.dump(tmp_path, jobs=1, progress=Silent())


_connect = sqlite3.connect


def test_the_copy_leaves_no_side_files(method, trips, tmp_path):
    trips.execute("PRAGMA journal_mode = wal")
    method.dump(tmp_path, jobs=1, progress=Silent())
    method.read_through(tmp_path)
    assert os.listdir(tmp_path) == ["database.sqlite3"]
    assert (tmp_path / "database.sqlite3").stat().st_mode & 0o777 == 0o600


def test_checks_that_use_functions_of_django_can_be_verified(method, trips, tmp_path):
    with closing(trips.connect()) as connection:
        connection.create_function("regexp", 2, lambda pattern, text: True)
        connection.execute("CREATE TABLE code (name text CHECK (name REGEXP '^[A-Z]+$'))")
        connection.execute("INSERT INTO code VALUES ('KVB')")
    method.dump(tmp_path, jobs=1, progress=Silent())
    method.read_through(tmp_path)


@pytest.fixture
def registered(django_alias):
    """What an app of the project does in ready(): a collation, a function and a PRAGMA."""

    def register(connection, **_):
        if connection.alias == django_alias:
            connection.connection.create_collation("german", lambda a, b: (a > b) - (a < b))
            connection.connection.create_function("plate", 1, str.upper, deterministic=True)
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA journal_mode = wal")

    connection_created.connect(register)
    connections[django_alias].close()
    yield lambda: connection_created.disconnect(register)
    connection_created.disconnect(register)


def test_what_the_project_registers_is_there_in_copies(registered, method, live, trips, tmp_path):
    with connections[method.alias].cursor() as cursor:
        cursor.execute(
            "CREATE TABLE car (name text COLLATE german PRIMARY KEY, owner text COLLATE german"
            " REFERENCES car (name), kept text GENERATED ALWAYS AS (plate(name)) STORED,"
            " seen text AS (plate(name)) VIRTUAL, CHECK (plate(name) <> 'X')) WITHOUT ROWID"
        )
        cursor.execute("CREATE INDEX by_plate ON car (plate(owner)) WHERE plate(owner) <> 'Y'")
        cursor.execute("INSERT INTO car (name, owner) VALUES ('b', 'b'), ('a', 'b')")
    directory = tmp_path / "dumped"
    directory.mkdir(mode=0o700)

    snapshot = method.dump(directory, jobs=1, progress=Silent())
    method.read_through(directory)
    dumped = directory, manifest_of(live.identify(), snapshot), snapshot
    name = restore(method, dumped)

    assert live.count_rows(name) == ({"car": 2, "trip": 3}, {})
    assert os.listdir(directory) == ["database.sqlite3"]
    live.drop(name)
    trips.execute("DELETE FROM trip")
    _, previous = swap(method, dumped)
    assert (live.count_rows(str(trips.path))[0], live.count_rows(previous)[0]) == (
        {"car": 2, "trip": 3},
        {"car": 2, "trip": 0},
    )
    registered()
    connections[method.alias].close()
    with pytest.raises(BackupFailed, match="german.*registered by a receiver"):
        method.dump(tmp_path, jobs=1, progress=Silent())
    with pytest.raises(BackupError, match="plate.*says nothing about its contents") as refused:
        method.read_through(directory)
    assert not isinstance(refused.value, BackupCorrupt)


def test_orphans_are_saved_as_they_are_and_told(method, trips, tmp_path):
    trips.execute("CREATE TABLE leg (trip integer REFERENCES trip (id))")
    trips.execute("INSERT INTO leg VALUES (99)")
    assert method.dump(tmp_path, jobs=1, progress=Silent()).extra == {"foreign_key_violations": 1}


def test_sequences_and_odd_names_are_counted(method, trips, tmp_path):
    trips.execute('CREATE TABLE "a ""b"" %" (id integer PRIMARY KEY AUTOINCREMENT)')
    trips.execute('INSERT INTO "a ""b"" %" VALUES (41)')
    trips.execute("CREATE TABLE sqliteish (id integer)")
    snapshot = method.dump(tmp_path, jobs=1, progress=Silent())
    assert snapshot.counts == {'a "b" %': 1, "sqliteish": 0, "trip": 3}
    assert snapshot.sequences == {'a "b" %': 41}


def test_whatever_somebody_wrote_into_sqlite_sequence_survives(method, live, trips, tmp_path):
    trips.execute("CREATE TABLE numbered (id integer PRIMARY KEY AUTOINCREMENT)")
    trips.execute("INSERT INTO numbered VALUES (41)")
    trips.execute(
        "INSERT INTO sqlite_sequence VALUES ('gone', NULL), (NULL, 7), ('text', 'x'), ('real', 1.5),"
        " (x'ff', 2), ('numbered', 43), (NULL, NULL)"
    )
    rows = "SELECT typeof(name), quote(name), quote(seq) FROM sqlite_sequence ORDER BY rowid"
    directory = tmp_path / "odd"
    directory.mkdir(mode=0o700)
    snapshot = method.dump(directory, jobs=1, progress=Silent())
    assert snapshot.sequences == {"numbered": 43}
    beside = restore(method, (directory, manifest_of(live.identify(), snapshot), snapshot))
    with closing(sqlite3.connect(beside)) as restored:
        assert restored.execute(rows).fetchall() == trips.query(rows)


@pytest.mark.parametrize("where", ["head", "page", "tail"])
def test_a_damaged_copy_does_not_pass(method, trips, tmp_path, where):
    with closing(trips.connect()) as connection:
        connection.execute("CREATE INDEX by_purpose ON trip (purpose)")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO trip (purpose) VALUES (?)",
            [(f"trip number {n}" * 5,) for n in range(5000)],
        )
        connection.execute("COMMIT")
    method.dump(tmp_path, jobs=1, progress=Silent())
    path = tmp_path / "database.sqlite3"
    size = path.stat().st_size
    with path.open("r+b") as file:
        if where == "tail":
            file.truncate(size - 5000)
        else:
            file.seek({"head": 0, "page": size // 2}[where])
            file.write(os.urandom(4096))
    with pytest.raises(BackupCorrupt, match="is damaged, says SQLite"):
        method.read_through(tmp_path)


def test_a_database_in_memory_is_refused(trips, django_alias, monkeypatch):
    monkeypatch.setitem(connections[django_alias].settings_dict, "NAME", ":memory:")
    with pytest.raises(ConfigurationError, match="SQLite in memory"):
        database_for(django_alias).identify()


def test_nobody_wrote_as_long_as_nobody_did(method, live, trips, journal_mode):
    position = live.write_position()
    with connections[method.alias].cursor() as cursor:
        cursor.execute("INSERT INTO trip (purpose) VALUES ('ours')")
    assert live.writes_since(position, own_rows={}).answer is Answer.NOBODY
    trips.execute("UPDATE trip SET km = 1")
    assert live.writes_since(position, own_rows={}).answer is Answer.WROTE


def test_after_the_connection_was_closed_nobody_knows(method, live):
    position = live.write_position()
    connections[method.alias].close()
    assert live.writes_since(position, own_rows={}).answer is Answer.UNKNOWABLE


def test_another_process_can_only_count(live, trips, dumped):
    _, _, snapshot = dumped
    position = snapshot.write_position | {"connection": "of another process"}
    assert live.writes_since(position, own_rows={}).answer is Answer.UNKNOWABLE
    trips.execute("DELETE FROM trip WHERE id = 1")
    writes = live.writes_since(position, own_rows={})
    assert (writes.answer, writes.rows) == (Answer.UNKNOWABLE, {"trip": -1})


def test_a_restore_beside_is_a_file_beside_with_the_same_rows(method, live, trips, dumped):
    name = restore(method, dumped)
    assert name == str(trips.path.with_name(f"trips_restoring_{STAMP}.sqlite3"))
    assert live.count_rows(name) == ({"trip": 3}, {})
    assert live.databases_beside() == [name]
    assert os.stat(name).st_mode & 0o777 == 0o600
    with pytest.raises(RestoreRefused, match="exists"):
        restore(method, dumped)
    live.drop(name)
    assert live.databases_beside() == []


def test_a_damaged_dump_is_not_restored_and_leaves_nothing(method, live, dumped):
    with (dumped[0] / "database.sqlite3").open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096))
    with pytest.raises(RestoreFailed, match="the live database was not changed"):
        restore(method, dumped)
    assert live.databases_beside() == []


def test_the_live_database_is_not_dropped(live, trips):
    with pytest.raises(RestoreRefused, match="is the live database"):
        live.drop(trips.name)
    assert trips.path.exists()


def test_other_files_are_not_taken_for_ours(live, trips):
    for name in ("trips_before_restore_x.sqlite3", "other_verify_20260131T020000Z.sqlite3"):
        trips.path.with_name(name).touch()
    assert live.databases_beside() == []


def swap(method, dumped, before=lambda: None):
    previous = method.database.name_beside(f"before_restore_{STAMP}")
    beside = restore(method, dumped)
    method.database.swap(beside, previous, before=before)
    return beside, previous


def test_a_swap_brings_the_rows_back_and_keeps_the_others(
    method, live, trips, dumped, journal_mode
):
    trips.execute("DELETE FROM trip")
    trips.execute("CREATE TABLE newer (id integer)")
    with closing(trips.connect()) as client:
        assert client.execute("SELECT count(*) FROM trip").fetchone() == (0,)
        beside, previous = swap(method, dumped)
        assert client.execute("SELECT count(*) FROM trip").fetchone() == (3,)
    assert list(trips.schema()) == ["trip"]
    assert rows(previous) == []
    assert not os.path.exists(beside)
    assert live.databases_beside() == [previous]
    assert trips.query("PRAGMA journal_mode") == [
        (journal_mode if journal_mode == "wal" else "delete",)
    ]


def test_other_pages_under_wal_are_refused_with_what_helps(method, live, trips, dumped):
    for statement in ("page_size = 8192", "journal_mode = wal"):
        with closing(trips.connect()) as connection:
            connection.execute(f"PRAGMA {statement}")
            connection.execute("VACUUM")
    trips.execute("DELETE FROM trip")
    beside = restore(method, dumped)
    previous = live.name_beside(f"before_restore_{STAMP}")

    with pytest.raises(RestoreRefused, match="4096 bytes and .* of 8192") as refused:
        live.swap(beside, previous, before=lambda: None)

    assert trips.query("SELECT * FROM trip") == [] and not os.path.exists(previous)
    trips.execute(str(refused.value).splitlines()[-1].strip())
    live.swap(beside, previous, before=lambda: None)
    assert trips.query("PRAGMA page_size") == [(4096,)] and len(rows(trips.path)) == 3
    assert rows(previous) == []


def test_an_older_previous_database_of_the_same_name_is_never_touched(
    method, trips, dumped, journal_mode
):
    previous = trips.path.with_name(f"trips_before_restore_{STAMP}.sqlite3")
    previous.write_bytes(b"of the restore a moment ago")
    trips.execute("DELETE FROM trip WHERE id = 1")
    with pytest.raises(RestoreFailed, match="File exists"):
        swap(method, dumped)
    assert previous.read_bytes() == b"of the restore a moment ago"
    assert len(trips.query("SELECT * FROM trip")) == 2


def test_the_proof_that_nobody_wrote_can_be_taken_under_the_lock(
    method, live, trips, dumped, journal_mode
):
    position, answers = live.write_position(), []
    swap(
        method,
        dumped,
        before=lambda: answers.append(live.writes_since(position, own_rows={}).answer),
    )
    assert answers == [Answer.NOBODY]


def test_what_before_raises_stops_the_swap(method, live, trips, dumped, journal_mode):
    trips.execute("DELETE FROM trip WHERE id = 1")

    def refuse():
        raise RestoreRefused("Somebody wrote.")

    with pytest.raises(RestoreRefused, match="Somebody wrote"):
        swap(method, dumped, before=refuse)
    assert len(trips.query("SELECT * FROM trip")) == 2
    assert [name for name in live.databases_beside() if "before_restore" in name] == []
    trips.execute("INSERT INTO trip (purpose) VALUES ('still writable')")


def test_nobody_writes_between_the_copy_and_the_swap(method, trips, dumped, journal_mode):
    refused = []

    def try_to_write():
        with closing(sqlite3.connect(trips.path, timeout=0)) as other:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("INSERT INTO trip (purpose) VALUES ('too late')")
            refused.append(True)

    swap(method, dumped, before=try_to_write)
    assert refused == [True]


def test_a_writer_that_does_not_let_go_stops_the_swap(
    method, trips, dumped, journal_mode, monkeypatch
):
    monkeypatch.setattr(copying, "LOCK_SECONDS", 0.3)
    with closing(trips.connect()) as hog:
        hog.execute("BEGIN IMMEDIATE")
        hog.execute("INSERT INTO trip (purpose) VALUES ('being written')")
        started = time.monotonic()
        with pytest.raises(RestoreFailed, match="Stop what writes to it"):
            swap(method, dumped)
        assert time.monotonic() - started < 20
        hog.execute("COMMIT")
    assert len(trips.query("SELECT * FROM trip")) == 4


def hammer(path, acknowledged, stop):
    """Insert row by row; tell an id only after its commit."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        number = 1000
        while not stop.is_set():
            number += 1
            try:
                connection.execute("INSERT INTO trip (id, purpose) VALUES (?, 'w')", (number,))
            except sqlite3.OperationalError:
                continue
            acknowledged.put(number)
            time.sleep(0.02)  # as much as a client on a busy machine needs to ask again


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_every_acknowledged_row_is_in_the_live_or_the_previous_database(
    method, trips, dumped, mode
):
    trips.execute(f"PRAGMA journal_mode = {mode}")
    context = multiprocessing.get_context("spawn")
    acknowledged, stop = context.Queue(), context.Event()
    writer = context.Process(target=hammer, args=(str(trips.path), acknowledged, stop))
    writer.start()
    try:
        first = acknowledged.get(timeout=30)
        time.sleep(0.3)
        _, previous = swap(method, dumped)
        time.sleep(0.3)
    finally:
        stop.set()
        ids = [first]
        while writer.is_alive() or not acknowledged.empty():
            if not acknowledged.empty():
                ids.append(acknowledged.get())
        writer.join()
    with closing(sqlite3.connect(previous)) as connection:
        found = {row[0] for row in connection.execute("SELECT id FROM trip")}
    before = len(found & set(ids))
    found |= {row[0] for row in trips.query("SELECT id FROM trip")}
    assert before > 0 and len(ids) > before
    assert set(ids) <= found


def test_a_swap_killed_before_it_began_is_undone(method, live, trips, dumped):
    beside, previous = restore(method, dumped), live.name_beside(f"before_restore_{STAMP}")
    trips.execute("DELETE FROM trip")
    assert "had not taken place" in live.repair_swap(beside, previous)
    assert trips.query("SELECT * FROM trip") == []
    assert live.databases_beside() == [beside]


def test_a_swap_killed_right_after_it_is_finished(method, live, trips, dumped, monkeypatch):
    trips.execute("DELETE FROM trip")
    monkeypatch.setattr("deploy_ops.databases.sqlite.remove", lambda path: None)
    beside, previous = swap(method, dumped)
    monkeypatch.undo()
    assert os.path.exists(beside)
    assert "had finished" in live.repair_swap(beside, previous)
    assert len(trips.query("SELECT * FROM trip")) == 3
    assert live.databases_beside() == [previous]


def test_a_swap_after_which_somebody_wrote_keeps_all_three(
    method, live, trips, dumped, monkeypatch
):
    monkeypatch.setattr("deploy_ops.databases.sqlite.remove", lambda path: None)
    beside, previous = swap(method, dumped)
    monkeypatch.undo()
    trips.execute("INSERT INTO trip (purpose) VALUES ('since')")
    assert "written to since" in live.repair_swap(beside, previous)
    assert sorted(live.databases_beside()) == sorted([beside, previous])


def test_what_stands_in_the_way_is_told_before(method, trips, dumped, monkeypatch):
    directory, manifest, _ = dumped
    foreign = replace(manifest, database=replace(manifest.database, engine="postgresql"))
    assert method.check_restore(manifest) == []
    assert "is of postgresql" in method.check_restore(foreign)[0]
    taken = method.check_restore(manifest, into=trips.path.name)
    assert taken == [f"{trips.path} exists; choose another name."]
    huge = replace(manifest, database=replace(manifest.database, size_bytes=10**18))
    assert "MB free, and the restore needs" in method.check_restore(huge)[0]
