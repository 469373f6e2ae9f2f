"""`manage.py backups` as an operator meets it, in real processes."""

import fcntl
import json
import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from tests.deploy_ops.backup.manifests import forged


@pytest.fixture
def ready(sqlite_project):
    """A migrated project."""
    sqlite_project.run("migrate", check=0)
    return sqlite_project


def backup(project, *argv) -> str:
    return project.json("backup", *argv, check=0)["backup"]


def age(project, backup_id, days):
    """Date a backup back, in a manifest that is sound."""
    path = project.backups_dir / backup_id / "manifest.json"
    moment = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    path.write_bytes(forged(path.read_bytes(), started_at=moment))


def listed(project):
    return {entry["id"]: entry for entry in project.json("backups", "list", check=0)["backups"]}


def test_an_empty_catalog_says_where_it_looked(ready):
    result = ready.run("backups", "list", check=0)
    assert f"No backups in {ready.backups_dir}" in result.stdout
    assert ready.json("backups", "list") == {"status": "ok", "backups": []}


def test_the_list_shows_age_size_level_and_label(ready):
    backup_id = backup(ready, "--label", "before the move")
    age(ready, backup_id, days=3)
    heading, line = ready.run("backups", "list", check=0).stdout.splitlines()
    assert heading.split() == "ID TAKEN AGE SIZE STATE DATABASE NOTES".split()
    cells = re.split(r"  +", line)
    assert cells[0] == backup_id[:16]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d", cells[1])
    assert cells[2:5] == ["3 d", "0.2 MB", "verified by reading"]
    assert cells[5].endswith("trips.sqlite3") and cells[6] == "before the move"
    for name in ("AGE", "STATE", "NOTES"):
        assert line[heading.index(name) - 1] == " " != line[heading.index(name)]


def test_the_beginning_of_an_id_is_enough_where_no_other_has_it(ready):
    backup_id = backup(ready)
    second, other = backup_id[:16], f"{backup_id[:16]}-00000000"
    assert ready.json("backups", "pin", backup_id[:8], check=0)["backup"] == backup_id
    shutil.copytree(ready.backups_dir / backup_id, ready.backups_dir / other)
    refused = ready.run("backups", "unpin", second, check=2)
    assert f"{second} is the beginning of 2 ids: {backup_id}, {other}. Nothing" in refused.stderr
    assert ready.json("backups", "unpin", backup_id[:20], check=0)["backup"] == backup_id
    rows = ready.run("backups", "list", check=0).stdout.splitlines()[1:]
    assert {row.split()[0] for row in rows} == {backup_id, other}


def test_options_may_stand_before_or_after_the_action(ready):
    backup_id = backup(ready)
    for argv in (
        ("backups", "--format", "json", "show", backup_id),
        ("backups", "show", "--format", "json", backup_id),
        ("backups", "show", backup_id, "--format", "json", "--database", "default"),
    ):
        assert ready.run(*argv, check=0).json()["manifest"]["id"] == backup_id


def test_a_backup_is_shown_as_a_card_and_the_latest_by_default(ready):
    backup(ready)
    newest = backup(ready, "--label", "before the move")
    shown = ready.run("backups", "show", check=0).stdout
    lines = [line.split(":", 1) for line in shown.splitlines()]
    facts = {name: value.strip() for name, value in lines}
    assert (facts["Backup"], facts["Label"]) == (newest, "before the move")
    assert facts["Taken"].endswith("0 min ago") and " CE" in facts["Taken"]  # CET or CEST
    assert facts["Verified"].startswith("by reading, 20")
    assert facts["Where"] == f"{ready.backups_dir / newest}, no copy elsewhere"
    assert "{" not in shown
    verified = ready.json("backups", "verify", check=0)["backups"]
    assert [each["backup"] for each in verified] == [newest]


@pytest.mark.parametrize(("days", "code"), [(0, 0), (1, 0), (1.2, 1)])
def test_a_stale_catalog_is_an_alarm(ready, days, code):
    age(ready, backup(ready), days)
    result = ready.run("backups", "list", "--max-age", "26h", check=code)
    assert ("is younger than 26 h" in result.stdout) is bool(code)
    assert ready.json("backups", "list", "--max-age", "26h")["status"] == (
        "stale" if code else "ok"
    )


def test_no_backup_is_stale_too(ready):
    ready.run("backups", "list", "--max-age", "26h", check=1)


def test_a_backup_from_the_future_is_not_fresh(ready):
    backup_id = backup(ready)
    age(ready, backup_id, days=-2)
    ready.run("backups", "list", "--max-age", "26h", check=1)
    assert listed(ready)[backup_id]["future"] is True


def test_a_backup_that_failed_its_verification_is_not_fresh(ready):
    backup_id = backup(ready)
    data = ready.backups_dir / backup_id / "database" / "database.sqlite3"
    data.write_bytes(b"x" + data.read_bytes()[1:])
    result = ready.run("backups", "verify", "latest", check=1)
    assert "database/database.sqlite3 was changed" in result.stderr
    assert "python manage.py backup" in result.stderr
    ready.run("backups", "list", "--max-age", "26h", check=1)
    assert listed(ready)[backup_id]["state"] == "corrupt"


@pytest.mark.parametrize("level", ["manifest", "hash", "read", "restore"])
def test_a_backup_is_verified_to_a_level(ready, level):
    backup_id = backup(ready)
    result = ready.json("backups", "verify", backup_id, "--level", level, check=0)
    assert result == {
        "status": "ok",
        "backups": [{"backup": backup_id, "level": level, "status": "ok", "pending": []}],
    }


def test_all_backups_are_verified_and_the_bad_one_is_named(ready):
    good, bad = backup(ready), backup(ready)
    (ready.backups_dir / bad / "database" / "database.sqlite3").write_bytes(b"")
    result = ready.run("backups", "verify", "all", "--format", "json", check=1).json()
    assert result["status"] == "corrupt"
    assert [(each["backup"], "error" in each) for each in result["backups"]] == [
        (good, False),
        (bad, True),
    ]


@pytest.mark.parametrize("action", ["show", "verify", "pin", "unpin"])
@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("../../../etc", 2, "is not a backup id"),
        ("20200101T000000Z-00000000", 1, "There is no backup 20200101T000000Z-00000000"),
        ("20200101T000000Z", 1, "There is no backup 20200101T000000Z"),
        ("latest", 1, "There is no usable backup of database 'default'"),
    ],
)
def test_a_backup_that_is_not_there(ready, action, text, code, message):
    result = ready.run("backups", action, text, check=code)
    assert message in result.stderr and "Nothing was changed" in result.stderr


@pytest.mark.parametrize(
    "argv",
    [("backups",), ("backups", "forget"), ("backups", "verify", "latest", "--level", "deep")],
)
def test_wrong_usage_is_exit_code_two(ready, argv):
    ready.run(*argv, check=2)


class TestNotOurs:
    """With a key: what somebody without it put there, or we made before we had it."""

    @pytest.fixture
    def plain(self, ready, tmp_path):
        """A plain backup, and then a key."""
        ready.run("backup", "--label", "theirs", check=0)
        [plain] = listed(ready)
        path = tmp_path / "backup.keys"
        path.write_text("2026:" + 43 * "A" + "=\n")
        path.chmod(0o600)
        ready.env["DEPLOY_OPS_BACKUP_KEY_FILE"] = str(path)
        return plain

    def test_is_listed_with_nothing_of_what_it_claims(self, ready, plain):
        manifest = ready.backups_dir / plain / "manifest.json"
        manifest.write_bytes(forged(manifest.read_bytes(), label="\x1b[2J trust me"))
        _, line = ready.run("backups", "list", check=0).stdout.splitlines()
        words = f"{plain[:16]} not ours It carries no proof of origin"
        assert " ".join(line.split()).startswith(words)
        assert "trust me" not in line
        assert listed(ready)[plain].keys() == {"id", "state", "reason"}
        shown = ready.run("backups", "show", plain, check=0).stdout
        assert "nothing here proves it" in shown and r"\x1b[2J trust me" in shown
        assert "\x1b" not in shown

    def test_does_not_calm_the_alarm(self, ready, plain):
        ready.run("backups", "list", "--max-age", "26h", check=1)
        backup(ready)
        ready.run("backups", "list", "--max-age", "26h", check=0)

    def test_is_not_touched_by_a_drill(self, ready, plain):
        ours = backup(ready)
        result = ready.json("backups", "verify", "all", "--level", "restore", check=0)
        assert [each["backup"] for each in result["backups"]] == [ours]
        for level in ("manifest", "restore"):
            result = ready.run("backups", "verify", plain, "--level", level, check=1)
            assert f"Backup {plain} is not ours" in result.stderr
        assert not (ready.backups_dir / plain / "verified.jsonl").exists()

    def test_one_whose_key_is_away_fails_a_verification_of_all(self, ready, plain):
        backup(ready)
        path = ready.directory / "other.keys"
        path.write_text("2027:" + 43 * "B" + "=\n")
        path.chmod(0o600)
        ready.env["DEPLOY_OPS_BACKUP_KEY_FILE"] = str(path)
        result = ready.run("backups", "verify", "all", check=1)
        assert "made with key '2026', which this host does not have" in result.stderr

    def test_neither_counts_nor_is_deleted_by_prune(self, ready, plain):
        ready.settings(DEPLOY_OPS_BACKUP_RETENTION={"last": 1})
        path = ready.backups_dir / plain / "manifest.json"
        path.write_bytes(forged(path.read_bytes(), sequence=10**12))
        older, ours = backup(ready), backup(ready)
        result = ready.json("backups", "prune", "--delete", check=0)
        assert (list(result["keep"]), result["drop"]) == ([ours], [older])
        assert "carries no proof of origin" in result["left"][plain]
        assert set(listed(ready)) == {plain, ours}
        assert f"left    {plain}" in ready.run("backups", "prune", check=0).stdout

    def test_is_restored_by_its_id_on_the_operators_word_only(self, ready, plain):
        refused = ready.run("restore", plain, "--into", "beside.sqlite3", check=1)
        assert f"python manage.py restore {plain} --trust-unauthenticated" in refused.stderr
        assert "runs with all rights of the role that restores it" in refused.stderr
        trust = "--trust-unauthenticated"
        ready.run("restore", "latest", trust, "--into", "beside.sqlite3", check=2)
        done = ready.run("restore", plain, trust, "--into", "beside.sqlite3", check=0)
        assert f"Backup {plain} is restored on your word. No key of this host" in done.stdout

    def test_the_command_to_type_keeps_what_was_said(self, ready, plain):
        refused = ready.run("restore", plain, "--trust-unauthenticated", "--noinput", check=1)
        assert "--trust-unauthenticated" in refused.stderr.splitlines()[-1]


class TestPrune:
    @pytest.fixture
    def history(self, ready):
        """Five backups, 40 to 0 days old; one is kept as last."""
        ready.settings(DEPLOY_OPS_BACKUP_RETENTION={"last": 1})
        ids = [backup(ready) for _ in range(5)]
        for backup_id, days in zip(ids, (40, 30, 20, 10, 0), strict=True):
            age(ready, backup_id, days)
        return ids

    def test_is_a_dry_run_by_default(self, ready, history):
        result = ready.run("backups", "prune", check=0)
        assert result.stdout.count("would delete") == 4
        advised = "To delete them:\n    python manage.py backups prune --delete\n"
        assert f"Nothing was deleted. {advised}" in result.stdout
        assert list(listed(ready)) == history

    def test_deletes_when_told_to(self, ready, history):
        result = ready.json("backups", "prune", "--delete", check=0)
        assert result["drop"] == history[:4]
        assert result["keep"] == {history[4]: ["last verified", "last"]}
        assert list(listed(ready)) == history[4:]

    def test_leaves_a_pinned_one(self, ready, history):
        ready.run("backups", "pin", history[0], check=0)
        ready.run("backups", "prune", "--delete", check=0)
        assert list(listed(ready)) == [history[0], history[4]]
        ready.run("backups", "unpin", history[0], check=0)
        ready.run("backups", "prune", "--delete", check=0)
        assert list(listed(ready)) == [history[4]]

    def test_leaves_one_that_an_unresolved_run_refers_to(self, ready, history):
        runs = ready.ops_dir / "runs"
        runs.mkdir(mode=0o700, exist_ok=True)
        steps = [{"step": "started", "at": ""}, {"step": "backed_up", "backup": history[1]}]
        lines = "".join(json.dumps(step) + "\n" for step in steps)
        (runs / "20260101T000000Z-00000000.jsonl").write_text(lines)
        result = ready.json("backups", "prune", "--delete", check=0)
        assert result["keep"][history[1]] == ["a run refers to it"]
        assert history[1] in listed(ready)

    def test_does_not_count_a_corrupt_one_nor_touch_it(self, ready, history):
        manifest = ready.backups_dir / history[4] / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"label":""', '"label":"x"'))
        result = ready.json("backups", "prune", "--delete", check=0)
        assert list(result["keep"]) == [history[3]]
        assert set(listed(ready)) == {history[3], history[4]}

    def test_leaves_backups_of_other_databases(self, ready, history, tmp_path):
        other = {"DATABASE_URL": f"sqlite:///{tmp_path}/other.sqlite3"}
        ready.run("migrate", env=other, check=0)
        theirs = ready.json("backup", env=other, check=0)["backup"]
        ready.run("backups", "prune", "--delete", check=0)
        assert list(listed(ready)) == [history[4], theirs]

    def test_waits_for_nobody(self, ready, history):
        """The exclusive lock: not while a backup is being taken."""

        [lock] = (ready.ops_dir / "locks").iterdir()
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            result = ready.run("backups", "prune", "--delete", check=1)
            assert "The deploy lock is held" in result.stderr
            ready.run("backup", check=0)
        assert len(listed(ready)) == 6

    def test_removes_databases_that_restores_kept_after_their_time(self, ready):
        path = ready.database.path
        now = datetime.now(UTC)
        old, new = (
            path.with_name(f"trips_before_restore_{moment:%Y%m%dT%H%M%SZ}.sqlite3")
            for moment in (now - timedelta(days=8), now - timedelta(days=6))
        )
        for previous in (old, new):
            shutil.copy(path, previous)
        dry = ready.json("backups", "prune", "--previous-databases", check=0)
        assert dry["drop"] == [str(old)] and old.exists()
        ready.run("backups", "prune", "--previous-databases", "--delete", check=0)
        assert not old.exists() and new.exists() and path.exists()
        result = ready.json(
            "backups", "prune", "--previous-databases", "--min-age", "5d", "--delete", check=0
        )
        assert result["drop"] == [str(new)]


def test_databases_that_restores_kept_are_dropped_on_postgresql_too(postgresql_project):
    database = postgresql_project.database
    moment = datetime.now(UTC) - timedelta(days=8)
    previous = f"{database.name}_before_restore_{moment:%Y%m%dT%H%M%SZ}"
    with database.connect() as connection:
        connection.execute(f'CREATE DATABASE "{previous}"')
    postgresql_project.run("backups", "prune", "--previous-databases", "--delete", check=0)
    assert database.databases() == [database.name]
