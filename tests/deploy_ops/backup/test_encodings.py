"""Databases in other encodings than UTF-8: every byte comes back, in names as in rows."""

import secrets

import pytest
from django.db import connections
from psycopg import sql

from deploy_ops.backup.methods import method_for
from deploy_ops.databases import database_for
from deploy_ops.databases.postgresql import exclusive
from deploy_ops.databases.postgresql.server import server_of
from deploy_ops.errors import RestoreRefused
from deploy_ops.progress import Silent
from tests.conftest import scratch_alias, scratch_project
from tests.deploy_ops.backup.portraits import restore, save
from tests.project.databases import PostgresDatabase

WORDS = {
    "SQL_ASCII": "Müller ß".encode("latin-1"),
    "LATIN1": "Müller ß".encode("latin-1"),
    "LATIN9": "Müller €".encode("iso8859-15"),
    "EUC_JP": "日本語".encode("euc_jp"),
    "UTF8": "Müller 日本語 €".encode(),
}
TABLE = b"""
    CREATE TABLE "%(word)s" (id int PRIMARY KEY, "%(word)s" text DEFAULT '%(word)s');
    INSERT INTO "%(word)s" VALUES (1);
    COMMENT ON TABLE "%(word)s" IS '%(word)s';
    CREATE MATERIALIZED VIEW "v%(word)s" AS SELECT * FROM "%(word)s"
"""
READ = b"""
    SELECT table_name || column_name || coalesce(column_default, '')
        || coalesce(obj_description(table_name::regclass), '')
    FROM (SELECT quote_ident(table_name) AS table_name, column_name, column_default
          FROM information_schema.columns WHERE table_schema = 'public') AS columns
    UNION ALL SELECT t::text FROM "%(word)s" AS t UNION ALL SELECT v::text FROM "v%(word)s" AS v
    ORDER BY 1
"""


@pytest.fixture(params=WORDS)
def encoded(request, pg15_cluster):
    """A database of that encoding and the bytes of a word in it."""
    name = f"trips_{secrets.token_hex(4)}"
    pg15_cluster.execute(
        sql.SQL("CREATE DATABASE {} OWNER app TEMPLATE template0 ENCODING {} LOCALE 'C'").format(
            sql.Identifier(name), sql.Literal(request.param)
        )
    )
    try:
        yield PostgresDatabase(pg15_cluster, name, pg15_cluster.url(name)), request.param
    finally:
        pg15_cluster.drop_databases(name)


@pytest.fixture
def alias(encoded, django_db_blocker):
    yield from scratch_alias(encoded[0], django_db_blocker)


def run(database, encoding: str, statements: bytes) -> list[bytes]:
    """Run them as they are, and return the bytes of the last one's rows."""
    with database.connect() as connection:
        connection.execute(sql.SQL("SET client_encoding = {}").format(sql.Literal(encoding)))
        result = connection.pgconn.exec_(statements % {b"word": WORDS[encoding]})
        assert not result.error_message, result.error_message
        return [result.get_value(row, 0) for row in range(result.ntuples)]


def saved_as(database, encoding, method, directory):
    run(database, encoding, TABLE)
    return save(method, directory), run(database, encoding, READ)


def test_every_byte_comes_back_beside(encoded, alias, tmp_path):
    database, encoding = encoded
    method = method_for(alias)
    manifest, before = saved_as(database, encoding, method, tmp_path / "dump")

    name = restore(method, tmp_path / "dump", manifest)

    assert run(database.beside(name), encoding, READ) == before
    assert b"".join(before).count(WORDS[encoding]) == 8
    assert database_for(alias).count_rows(name)[0] == manifest.counts
    assert database_for(alias).view_differences(name, manifest.extra["materialized_views"]) == []


def test_every_byte_comes_back_in_place(encoded, alias, tmp_path):
    database, encoding = encoded
    method = method_for(alias)
    manifest, before = saved_as(database, encoding, method, tmp_path / "dump")
    run(database, encoding, b"""UPDATE "%(word)s" SET "%(word)s" = 'other'""")

    method.restore_in_place(tmp_path / "dump", manifest, progress=Silent())

    assert run(database, encoding, READ) == before


@pytest.mark.parametrize("encoded", ["SQL_ASCII", "LATIN1"], indirect=True)
def test_other_bytes_are_another_schema(encoded, alias, tmp_path):
    database, encoding = encoded
    run(database, encoding, TABLE)
    before = database_for(alias).schema()

    run(database, encoding, b"""COMMENT ON TABLE "%(word)s" IS 'M\xf6ller'""")
    other = database_for(alias).schema()
    run(database, encoding, b"""COMMENT ON TABLE "%(word)s" IS 'M\xe4ller'""")

    assert len({before, other, database_for(alias).schema()}) == 3


@pytest.mark.parametrize("encoded", ["SQL_ASCII", "EUC_JP"], indirect=True)
def test_sessions_read_text_whatever_the_settings_say(encoded, alias):
    database, encoding = encoded
    run(database, encoding, TABLE)
    connections[alias].settings_dict["OPTIONS"]["client_encoding"] = "LATIN2"

    names = database_for(alias).count_rows(database.name)[0]

    assert all("b'" not in name for name in names) and len(names) == 1


@pytest.mark.parametrize("encoded", ["LATIN1"], indirect=True)
def test_a_comment_that_cannot_be_given_on_is_refused_with_its_cure(encoded, alias, tmp_path):
    database, encoding = encoded
    name = database.name.encode()
    run(database, encoding, b"COMMENT ON DATABASE " + name + b" IS '%(word)s'")
    method = method_for(alias)
    manifest = save(method, tmp_path / "dump")

    with pytest.raises(RestoreRefused, match="COMMENT ON DATABASE"):
        method.check_restore(manifest, into=f"{database.name}_drill")
    with pytest.raises(RestoreRefused, match="COMMENT ON DATABASE"):
        exclusive.close(server_of(alias), check_lock=lambda: None)
    assert database.databases() == [database.name]

    run(database, encoding, b"COMMENT ON DATABASE " + name + b" IS 'of trips'")
    assert method.check_restore(manifest, into=f"{database.name}_drill") == []


@pytest.mark.parametrize("encoded", ["SQL_ASCII"], indirect=True)
def test_names_that_django_cannot_read_are_said_in_a_sentence(encoded, tmp_path_factory):
    database, encoding = encoded
    run(database, encoding, TABLE)
    for project in scratch_project(database, tmp_path_factory):
        project.run("backup", check=0)
        for words in (("safe_migrate", "--plan"), ("backups", "verify", "--level", "restore")):
            refused = project.run(*words, check=1)
            assert "Django cannot read" in refused.stderr and "Traceback" not in refused.stderr
