"""`restore` as an operator runs it: on both databases, confirmed, declined, killed, repaired."""

import shlex
import signal
import stat
import subprocess
import time

import pytest

from tests.pooler import pooler

SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
POSTGRESQL_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)


@pytest.fixture
def trips(project):
    """A project with two trips, a backup of them, and a third trip since."""
    project.with_apps("good_expand").run("migrate", check=0)
    project.insert_trips("good_expand", ("Berlin", 1), ("Bonn", 2))
    (project.media_root / "2025").mkdir()
    (project.media_root / "2025" / "receipt.pdf").write_text("saved")
    project.json("backup", "--media", check=0)
    project.insert_trips("good_expand", ("Köln", 3))
    (project.media_root / "2025" / "receipt.pdf").write_text("later")
    (project.media_root / "new.pdf").write_text("later")
    return project


def consent(project) -> list[str]:
    return ["--noinput", "--confirm", project.database.name]


def towns(project) -> list[str]:
    return [purpose for purpose, _ in project.trips("good_expand")]


def test_the_backup_is_live_and_the_database_before_is_kept(trips):
    result = trips.run("restore", "latest", *consent(trips), "--format", "json", check=0)

    report = result.json()
    assert report["status"] == "ok" and report["database"] == trips.database.name
    assert towns(trips) == ["Berlin", "Bonn"]
    assert trips.database.exists(report["previous_database"])
    assert report["previous_database"] in result.stderr
    assert "good_expand_trip: 1 more row now than in the backup" in result.stderr
    assert not list((trips.ops_dir / "restores").iterdir())


@POSTGRESQL_15
def test_uploads_come_back_and_those_before_are_kept(trips):
    report = trips.json("restore", "latest", *consent(trips), check=0)

    receipt = trips.media_root / "2025" / "receipt.pdf"
    assert receipt.read_text() == "saved" and not (trips.media_root / "new.pdf").exists()
    assert stat.S_IMODE(receipt.stat().st_mode) == 0o644  # Django's own, for the web server
    kept = trips.media_root.with_name(report["previous_media"].rpartition("/")[2])
    assert (kept / "new.pdf").read_text() == "later"


UPLOAD_BETWEEN = """
from pathlib import Path
from deploy_ops.restore import media
keep = media._keep
def keep_and_upload(paths):
    keep(paths)
    if not (paths.previous / "between.pdf").exists() and not list(paths.live.parent.glob("*Z_1")):
        paths.live.mkdir()
        (paths.live / "between.pdf").write_text("acknowledged")
        {then}
media._keep = keep_and_upload
"""


@SQLITE
@pytest.mark.parametrize("then", ["pass", "import os; os.kill(os.getpid(), 9)"])
def test_an_upload_between_the_two_renames_is_kept(trips, then):
    """Django makes MEDIA_ROOT anew for it."""
    code = UPLOAD_BETWEEN.format(then=then) + call(trips)
    result = trips.run("shell", "-c", code)
    if result.code:
        result = trips.run("restore", check=0)

    assert (trips.media_root / "2025" / "receipt.pdf").read_text() == "saved"
    [kept] = trips.media_root.parent.glob("media_before_restore_*_1")
    assert (kept / "between.pdf").read_text() == "acknowledged"
    assert f"kept as {kept}" in result.stderr
    [before] = trips.media_root.parent.glob("media_before_restore_*Z")
    assert (before / "new.pdf").read_text() == "later"
    prune = ("backups", "prune", "--previous-databases", "--min-age", "0s")
    assert str(kept) in trips.json(*prune, check=0)["drop"]


@SQLITE
def test_that_links_are_left_out_and_uploads_go_is_told(trips, tmp_path):
    (trips.media_root / "archive").symlink_to(tmp_path)
    assert "were left out (1)" in trips.run("backup", "--media", check=0).stdout

    told = trips.run("restore", "latest", *consent(trips), check=0).stdout

    [before] = trips.media_root.parent.glob("media_before_restore_*")
    assert f"and uploads in {before}" in told.partition("Swapping")[0]
    assert "left out of the backup (1)" in told and (before / "archive").is_symlink()


KILLED_BETWEEN = """
from deploy_ops.restore import media
keep = media._keep
def keep_and_die(paths):
    keep(paths)
    import os; os.kill(os.getpid(), 9)
media._keep = keep_and_die
"""


@SQLITE
@pytest.mark.parametrize("is_damaged", [False, True])
def test_uploads_are_not_pruned_half_way_through_a_killed_restore(trips, is_damaged):
    trips.run("shell", "-c", KILLED_BETWEEN + call(trips))
    assert not trips.media_root.exists()
    if is_damaged:
        [marker] = (trips.ops_dir / "restores").iterdir()
        marker.write_text("{")
    prune = ["backups", "prune", "--previous-databases", "--min-age", "0s", "--delete"]

    pruned = trips.run(*prune)

    if is_damaged:
        assert pruned.code == 1 and "may be the only copy of the uploads" in pruned.stderr
        [line] = [line for line in pruned.stderr.splitlines() if line.startswith("    mv ")]
        subprocess.run(shlex.split(line), check=True)
    assert (trips.media_root / "2025" / "receipt.pdf").read_text() == "saved"


@POSTGRESQL_15
def test_what_is_set_for_the_database_meanwhile_is_carried_over(trips, asked):
    name, cluster = trips.database.name, trips.database.cluster
    cluster.create_role("auditor")
    cluster.execute(f"GRANT CONNECT ON DATABASE {name} TO auditor")
    restoring, place = asked()
    cluster.execute(f"ALTER DATABASE {name} SET work_mem = '77MB'")
    cluster.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC, auditor")

    assert trips.finish(restoring, input=f"{place}\n").code == 0

    assert cluster.execute("SHOW work_mem", dbname=name) == [("77MB",)]
    may = "SELECT has_database_privilege('auditor', %s, 'CONNECT')"
    assert cluster.execute(may, [name]) == [(False,)]
    cluster.execute("DROP ROLE auditor")


def test_name_and_host_have_to_be_typed(trips):
    declined = trips.run("restore", "latest", input="no\n", check=1)
    assert "was not confirmed" in declined.stderr
    assert towns(trips) == ["Berlin", "Bonn", "Köln"]
    assert trips.database.databases() == [trips.database.name]
    assert (trips.media_root / "new.pdf").exists()
    assert not list(trips.media_root.parent.glob("media_*"))

    place = declined.stdout.rpartition("type: ")[2].strip()
    trips.run("restore", "latest", input=f"{place}\n", check=0)
    assert towns(trips) == ["Berlin", "Bonn"]


@pytest.fixture
def asked(trips):
    """A restore that has shown the loss and waits for the name and host, which it yields."""

    def start(*options):
        restoring = trips.start("restore", "latest", *options, stdin=subprocess.PIPE)
        _until(lambda: "type:" in trips.output_of(restoring) or restoring.poll() is not None, 60)
        return restoring, trips.output_of(restoring).split("type:")[1].strip()

    return start


def test_what_is_written_after_the_loss_was_shown_stops_the_swap(trips, asked):
    restoring, place = asked()
    trips.insert_trips("good_expand", ("acknowledged", 7))

    result = trips.finish(restoring, input=f"{place}\n")

    assert result.code == 1, result
    assert "Others may have written since the loss was counted" in result.stderr
    assert towns(trips) == ["Berlin", "Bonn", "Köln", "acknowledged"]
    assert trips.database.databases() == [trips.database.name]


CHANGES = {
    "inserted": "INSERT INTO good_expand_trip (purpose, km) VALUES ('acknowledged', 7)",
    "updated": "UPDATE good_expand_trip SET km = 99 WHERE purpose = 'Köln'",
    "deleted": "DELETE FROM good_expand_trip WHERE purpose = 'Köln'",
}


@POSTGRESQL_15
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_written_after_the_loss_was_shown_stops_a_restore_in_place(trips, asked, change):
    restoring, place = asked("--in-place")
    trips.database.execute(CHANGES[change])
    after = trips.trips("good_expand")

    result = trips.finish(restoring, input=f"{place}\n")

    assert result.code == 1, result
    assert "Others may have written since the loss was counted" in result.stderr
    assert "was not changed; backup" in result.stderr
    assert trips.trips("good_expand") == after
    assert len(trips.json("backups", "list", check=0)["backups"]) == 2


@POSTGRESQL_15
def test_in_place_with_consent_to_what_was_shown(trips, asked):
    restoring, place = asked("--in-place")

    result = trips.finish(restoring, input=f"{place}\n")

    assert result.code == 0, result
    assert "To return to the previous contents:" in result.stdout
    assert towns(trips) == ["Berlin", "Bonn"]


SHOWN = {
    "CREATE VIEW towns AS SELECT purpose FROM good_expand_trip": "schema was changed since",
    "SELECT nextval('good_expand_trip_id_seq')": "sequence public.good_expand_trip_id_seq: 1 value",
}


@POSTGRESQL_15
@pytest.mark.parametrize("statement", SHOWN)
def test_what_is_lost_besides_rows_is_shown(trips, statement):
    trips.json("backup", check=0)
    trips.database.execute(statement)

    shown = trips.run("restore", "latest", *consent(trips), check=0).stdout

    assert SHOWN[statement] in shown and "nothing would be lost" not in shown


@SQLITE
def test_that_sqlite_does_not_tell_of_updates_is_said_beside_rows(trips):
    shown = trips.run("restore", "latest", *consent(trips), check=0).stdout

    assert "good_expand_trip: 1 more row now than in the backup" in shown
    assert "Whether more was changed is not known" in shown


MEANWHILE = """
from deploy_ops.restore import prepare
{more}
compared = prepare.compared_loss
def compared_loss(*args):
    loss = compared(*args)
    write()
    return loss
prepare.compared_loss = compared_loss
"""


def test_unattended_what_was_lost_in_the_end_is_told(trips):
    """Written after the counting, before the door closes: agreed to, and told all the same."""
    write = (
        "import psycopg, sqlite3\n"
        "def write():\n"
        f"    connection = {_connect(trips.database)}\n"
        f"    connection.execute({CHANGES['inserted']!r})\n"
        "    connection.commit(); connection.close()\n"
    )

    result = trips.run("shell", "-c", MEANWHILE.format(more=write) + call(trips), check=0)

    before, _, in_the_end = (result.stdout + result.stderr).partition("was lost in the end:")
    assert "good_expand_trip: 1 more row now than in the backup" in before
    assert "good_expand_trip: 2 more rows now than in the backup" in in_the_end
    assert towns(trips) == ["Berlin", "Bonn"]


def _connect(database) -> str:
    if database.vendor == "sqlite":
        return f"sqlite3.connect({database.name!r})"
    return f"psycopg.connect({database.url!r})"


@pytest.mark.parametrize("confirm", [[], ["--confirm", "another"]])
def test_noinput_without_the_right_name_is_refused_before_any_work(trips, confirm):
    refused = trips.run("restore", "latest", "--noinput", *confirm, check=1)

    assert f"--confirm {trips.database.name}" in refused.stderr
    assert "Verifying" not in refused.stdout


@POSTGRESQL_15
def test_into_restores_beside_and_swaps_nothing(trips):
    name = f"{trips.database.name}_copy"

    report = trips.json("restore", "latest", "--into", name, check=0)

    assert (report["database"], report["previous_database"]) == (name, None)
    query = "SELECT count(*) FROM good_expand_trip"
    assert trips.database.cluster.execute(query, dbname=name) == [(2,)]
    assert towns(trips) == ["Berlin", "Bonn", "Köln"]


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_into_brings_back_a_database_that_is_lost(trips):
    [backup] = [path.name for path in trips.backups_dir.iterdir() if path.name[0] != "."]
    if trips.database.vendor == "sqlite":
        trips.database.path.unlink()
    else:
        trips.database.cluster.drop_databases(trips.database.name)

    refused = trips.run("restore", backup, *consent(trips), check=1)
    trips.run(*shlex.split(refused.stderr.partition("manage.py")[2].splitlines()[0]), check=0)

    assert towns(trips) == ["Berlin", "Bonn"]


@POSTGRESQL_15
def test_in_place_takes_a_backup_first(trips):
    report = trips.json("restore", "latest", "--in-place", *consent(trips), check=0)

    assert towns(trips) == ["Berlin", "Bonn"] and report["previous_database"] is None
    trips.run("restore", report["safety_backup"], "--in-place", *consent(trips), check=0)
    assert towns(trips) == ["Berlin", "Bonn", "Köln"]


def test_a_damaged_backup_is_refused_by_its_hash(trips):
    [backup] = [path for path in trips.backups_dir.iterdir() if path.name[0] != "."]
    victim = max((backup / "database").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)

    refused = trips.run("restore", backup.name, *consent(trips), check=1)

    assert victim.name in refused.stderr
    assert towns(trips) == ["Berlin", "Bonn", "Köln"]
    assert trips.database.databases() == [trips.database.name]


@POSTGRESQL_15
def test_rows_that_do_not_come_back_are_noticed(trips):
    code = (
        "from deploy_ops.backup.methods.pg_dump import load\n"
        "carry = load._carry_over\n"
        "def lose(connection, name, *rest):\n"
        "    from deploy_ops.databases.postgresql.server import server_of\n"
        "    server_of('default').connect(name, application_name='x')"
        ".execute('DELETE FROM good_expand_trip WHERE km = 1')\n"
        "    carry(connection, name, *rest)\n"
        "load._carry_over = lose\n"
    )

    failed = trips.run("shell", "-c", code + call(trips))

    assert (
        failed.code == 1
        and "public.good_expand_trip: 1 rows, 2 rows in the backup" in failed.stderr
    )
    assert trips.database.databases() == [trips.database.name]
    assert towns(trips) == ["Berlin", "Bonn", "Köln"]


@POSTGRESQL_15
def test_all_problems_are_told_at_once(trips):
    with trips.database.connect() as connection:
        connection.execute("BEGIN; CREATE TABLE later (id int); PREPARE TRANSACTION 'booked'")
    trips.database.cluster.execute("ALTER ROLE app NOCREATEDB")
    try:
        refused = trips.run("restore", "latest", *consent(trips), check=1)
    finally:
        trips.database.cluster.execute("ALTER ROLE app CREATEDB")

    assert "--in-place" in refused.stderr and "'booked'" in refused.stderr
    assert refused.stderr.rstrip().endswith("Nothing was changed.")


@POSTGRESQL_15
@pytest.mark.parametrize("options", [[], ["--in-place"]], ids=["beside", "in place"])
def test_a_table_that_may_not_be_counted_is_named(trips, options):
    of_the_dba = "CREATE TABLE public.audit (id int)"
    trips.database.cluster.execute(of_the_dba, dbname=trips.database.name)

    refused = trips.run("restore", "latest", *options, *consent(trips), check=1)

    assert "permission denied for table audit" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert trips.database.databases() == [trips.database.name]


@POSTGRESQL_15
def test_what_a_restore_with_a_damaged_file_left_is_listed_by_the_command_it_names(trips):
    code = KILL.format(
        package=PACKAGES["load"], module="load", function="analyse", moment="after"
    ) + call(trips)
    assert trips.run("shell", "-c", code).code == -signal.SIGKILL
    [marker] = (trips.ops_dir / "restores").iterdir()
    marker.write_text(marker.read_text().replace('"previous"', '"kept"'))

    told = trips.run("restore", check=0).stdout

    assert "A restore had been cut off" in told and "nothing to repair" not in told
    listed = trips.run(*shlex.split(told.partition("manage.py")[2].splitlines()[0]), check=0)
    [beside] = [name for name in trips.database.databases() if "restoring" in name]
    assert beside in listed.stdout


@POSTGRESQL_15
def test_a_previous_database_that_cannot_be_dropped_is_named(trips):
    name, cluster = f"{trips.database.name}_before_restore_20260101T000000Z", trips.database.cluster
    cluster.create_database("postgres", name)

    refused = trips.run("backups", "prune", "--previous-databases", "--delete", check=1)

    assert f"Database {name} could not be dropped, and stays" in refused.stderr
    assert f'    DROP DATABASE "{name}";' in refused.stderr


@POSTGRESQL_15
def test_nothing_cut_off_is_nothing_to_repair(trips):
    assert trips.json("restore", check=0)["status"] == "nothing_to_do"


def call(project) -> str:
    arguments = ["latest", *consent(project)]
    return f"from django.core.management import call_command\ncall_command('restore', *{arguments})"


KILL = """
import os, signal
from {package} import {module}
original = {module}.{function}
def fatal(*args, **options):
    if "{moment}" == "after":
        original(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
{module}.{function} = fatal
"""
PACKAGES = {
    "load": "deploy_ops.backup.methods.pg_dump",
    "swap": "deploy_ops.databases.postgresql",
    "closing": "deploy_ops.databases.postgresql",
}
STEPS = {
    "created": ("load", "_create", "after", False),
    "restored": ("load", "analyse", "after", False),
    "closed": ("closing", "close", "after", False),
    "renamed": ("swap", "rename", "after", True),
    "reopened": ("closing", "reopen", "after", True),
}


@POSTGRESQL_15
@pytest.mark.parametrize("step", STEPS)
def test_kill_9_at_any_step_is_repaired_by_the_next_command(trips, step):
    module, function, moment, swapped = STEPS[step]
    code = KILL.format(
        package=PACKAGES[module], module=module, function=function, moment=moment
    ) + call(trips)
    assert trips.run("shell", "-c", code).code == -signal.SIGKILL

    repaired = trips.json("restore", check=0)

    assert "had been cut off" in repaired["repaired"]
    assert towns(trips) == (["Berlin", "Bonn"] if swapped else ["Berlin", "Bonn", "Köln"])
    assert (trips.media_root / "new.pdf").exists() != swapped
    assert not list(trips.media_root.parent.glob("media_restoring*"))
    assert trips.json("restore", check=0)["status"] == "nothing_to_do"
    if step in ("created", "restored"):
        assert trips.database.databases() == [trips.database.name]


AWAY = """
from deploy_ops.databases.postgresql import server, swap
from deploy_ops.errors import DatabaseUnavailable
from deploy_ops.restore import prepare
def be_away(*args, **options):
    raise DatabaseUnavailable("The server is away. Nothing was changed.")
original = {module}.{function}
def last(*args, **options):
    found = original(*args, **options)
    server.Server.connect = be_away
    return found
{module}.{function} = last
"""


@POSTGRESQL_15
@pytest.mark.parametrize("function", ["swap", "view_differences"])
def test_a_server_that_goes_away_leaves_what_the_next_command_finishes(trips, function):
    is_swapped = function == "swap"
    code = AWAY.format(module="swap" if is_swapped else "prepare", function=function) + call(trips)

    result = trips.run("shell", "-c", code)

    assert "whether it took place is not known" in result.stderr or not is_swapped
    assert "Nothing was changed" not in result.stderr or not is_swapped
    assert "had been cut off" in trips.run("restore", check=0).stdout
    assert towns(trips) == (["Berlin", "Bonn"] if is_swapped else ["Berlin", "Bonn", "Köln"])
    assert (trips.media_root / "new.pdf").exists() != is_swapped
    assert len(trips.database.databases()) == 1 + is_swapped


@POSTGRESQL_15
def test_kill_9_ends_pg_restore_with_its_command(trips):
    rows = "SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 200000) AS i"
    trips.database.execute(f"CREATE TABLE many AS {rows}")
    trips.run("backup", check=0)
    command = trips.start("restore", "latest", *consent(trips))
    name = f"{trips.database.name}_restoring_%"
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE %s AND state = 'active'"
    _until(lambda: trips.database.cluster.execute(sessions, [name])[0][0] > 0)

    command.send_signal(signal.SIGKILL)
    command.wait()

    _until(lambda: trips.database.cluster.execute(sessions, [name])[0][0] == 0)
    assert "was removed" in trips.json("restore", check=0)["repaired"]
    assert trips.database.databases() == [trips.database.name]


@POSTGRESQL_15
def test_sigterm_removes_what_was_made_beside(trips):
    rows = "SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 200000) AS i"
    trips.database.execute(f"CREATE TABLE many AS {rows}")
    trips.run("backup", check=0)
    command = trips.start("restore", "latest", *consent(trips))
    _until(lambda: len(trips.database.databases()) > 1)

    command.send_signal(signal.SIGTERM)

    assert trips.finish(command).code == 1
    assert trips.database.databases() == [trips.database.name]
    assert not list((trips.ops_dir / "restores").iterdir())


@POSTGRESQL_15
def test_the_direct_url_is_used_for_everything(trips):
    with pooler(trips.database.cluster, "transaction", "app") as port:
        env = {
            "DEPLOY_OPS_DIRECT_DATABASE_URL": trips.database.url,
            "DATABASE_URL": f"postgresql://app@127.0.0.1:{port}/{trips.database.name}",
        }
        trips.run("backup", env=env, check=0)
        trips.run("restore", "latest", *consent(trips), env=env, check=0)

    assert towns(trips) == ["Berlin", "Bonn", "Köln"]


@POSTGRESQL_15
def test_another_projects_backup_is_refused(trips):
    other = trips.database.cluster.create_database(name=f"{trips.database.name}_other")
    [backup] = [path.name for path in trips.backups_dir.iterdir() if path.name[0] != "."]
    name = f"{trips.database.name}_other"

    refused = trips.run(
        "restore", backup, "--noinput", "--confirm", name, env={"DATABASE_URL": other}, check=1
    )

    assert f"The backup is of database {trips.database.name}" in refused.stderr


@SQLITE
def test_a_backup_of_another_file_is_refused(trips, tmp_path):
    [backup] = [path.name for path in trips.backups_dir.iterdir() if path.name[0] != "."]
    other = tmp_path / "other.sqlite3"
    env = {"DATABASE_URL": f"sqlite:///{other}"}
    trips.run("migrate", env=env, check=0)

    refused = trips.run("restore", backup, "--noinput", "--confirm", other.name, env=env, check=1)

    assert f"The backup is of database {trips.database.name}, not of this {other}" in refused.stderr
    trips.run("restore", backup, "--into", "copy.sqlite3", env=env, check=0)
    assert (tmp_path / "copy.sqlite3").exists()


@POSTGRESQL_15
@pytest.mark.parametrize("name", ["", "ü" * 32])
def test_a_name_that_no_database_can_have_is_refused(trips, name):
    refused = trips.run("restore", "latest", "--into", name, check=1)

    assert "has 1 to 63 bytes" in refused.stderr


@SQLITE
@pytest.mark.parametrize("options", [["--into", "copy.sqlite3"], ["--in-place"]])
def test_without_an_id_nothing_is_restored(trips, options):
    assert "Which backup to restore is missing" in trips.run("restore", *options, check=2).stderr


@pytest.mark.parametrize("text", ["../../etc", "20260131T020000Z-0123abcd"])
def test_an_id_that_is_none_is_refused(trips, text):
    refused = trips.run("restore", text, *consent(trips))

    assert refused.code in (1, 2) and "Nothing was changed" in refused.stderr


def _until(claim, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
