"""What is missing around an application: each finding on a real project that has that fault."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from deploy_ops.release.doctor import _clock

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
MANAGE = "/srv/shop/.venv/bin/python manage.py"


def found(project, *options, code):
    findings = project.json("doctor", *options, check=code)["findings"]
    return {each["id"].removeprefix("deploy_ops."): each for each in findings}


def with_timers(project, *commands):
    """Put a systemctl first on the PATH whose timers start these commands."""
    directory = project.directory / "systemd"
    directory.mkdir(exist_ok=True)
    units = [{"unit": f"{n}.timer", "activates": f"{n}.service"} for n, _ in enumerate(commands)]
    lines = "\n".join(f"ExecStart={{ argv[]={MANAGE} {words} ; }}" for words in commands)
    program = directory / "systemctl"
    program.write_text(
        "#!/bin/sh\ncase $1 in\n"
        f"list-timers) cat <<'END'\n{json.dumps(units)}\nEND\n;;\n"
        f"show) cat <<'END'\n{lines}\nEND\n;;\nesac\n"
    )
    program.chmod(0o755)
    project.env["PATH"] = f"{directory}:{project.env['PATH']}"


@PG15
def test_a_project_that_is_set_up_has_only_its_first_backup_to_take(project):
    project.settings(DEPLOY_OPS_TWO_PHASE=True)
    with_timers(
        project, "backup --noinput", "backups verify all", "backups prune --noinput --delete"
    )
    project.run("migrate", check=0)
    assert not {key for key in found(project, code=0) if key.startswith("D")} - {"D004"}
    text = project.run("doctor", check=0).stdout
    assert "There is no backup of this database." in text and "manage.py backup\n" in text
    project.run("doctor", "--strict", check=1)


@PG15
def test_what_the_role_of_backups_could_not_restore(project):
    project.database.cluster.execute(
        "CREATE PUBLICATION everything FOR ALL TABLES", dbname=project.database.name
    )
    told = found(project, code=0)["B004"]
    assert "publication of all tables everything" in told["message"]
    assert told["level"] == "warning" and "SUPERUSER" not in told["hint"]


@PG15
@pytest.mark.parametrize("seconds", ["60", "None"])
def test_a_connection_that_is_kept_unchecked(project, seconds):
    project.env["DATABASE_URL"] += f"&conn_max_age={seconds}"
    assert "CONN_HEALTH_CHECKS" in found(project, code=0)["D009"]["hint"]


@PG15
def test_client_programs_of_another_major_or_none(project, tmp_path):
    project.settings(DEPLOY_OPS_PG_BIN={15: str(tmp_path)})
    told = found(project, code=1)["D002"]
    assert "psql of PostgreSQL 15 is needed" in told["message"] and told["level"] == "error"


@PG15
def test_what_the_role_may_not_read_or_make(project, database):
    with database.cluster.connect(database.name, "postgres") as session:
        session.execute("CREATE TABLE secret (id int)")
        session.execute("ALTER ROLE app NOCREATEDB")
    try:
        findings = found(project, code=1)
    finally:
        with database.cluster.connect(database.name, "postgres") as session:
            session.execute("ALTER ROLE app CREATEDB")
    assert "GRANT SELECT ON public.secret TO app" in findings["D003"]["message"]
    assert 'ALTER ROLE "app" CREATEDB' in findings["D004"]["hint"]


@SQLITE
@pytest.mark.parametrize("name", ["ops_dir", "backups_dir"])
def test_a_directory_that_others_can_read_is_told_once(project, name):
    project.run("migrate", check=0)
    getattr(project, name).chmod(0o755)
    findings = found(project, code=1)
    assert f"chmod 700 {getattr(project, name)}" in findings["D006"]["message"]
    assert "D001" not in findings


@SQLITE
def test_a_key_file_that_is_not_there_is_told_once(project):
    project.run("migrate", check=0)
    project.env["DEPLOY_OPS_BACKUP_KEY_FILE"] = str(project.directory / "none")
    findings = found(project, code=1)
    assert "C004" in findings and "D001" not in findings


@SQLITE
def test_looking_makes_no_directory(project, tmp_path):
    place = tmp_path / "new" / "backups"
    project.run("migrate", check=0)
    project.env["DEPLOY_OPS_BACKUP_DIR"] = str(place)
    assert "D006" not in found(project, code=0)
    assert not place.parent.exists()


@SQLITE
def test_a_storage_that_does_not_answer_and_gets_plain_backups(project):
    storage = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    storages = {"default": storage, "staticfiles": storage}
    blocked = project.directory / "file"
    blocked.write_text("no directory")
    project.settings(
        STORAGES={**storages, "backups": storage | {"OPTIONS": {"location": str(blocked)}}}
    )
    findings = project.json("doctor", check=1)["findings"]
    levels = [each["level"] for each in findings if each["id"] == "deploy_ops.D008"]
    assert levels == ["error", "warning"]


@SQLITE
def test_timers_that_are_missing_and_a_host_without_systemd(project):
    project.run("migrate", check=0)
    with_timers(project, "backup --noinput", "backups prune --noinput")  # which deletes nothing
    told = found(project, code=0)["D010"]
    assert told["message"].endswith("starts: backups verify, backups prune --delete.")
    (project.directory / "systemd" / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    told = found(project, code=0)["D010"]
    assert told["level"] == "info" and "not known" in told["message"]


@PG15
def test_a_server_that_does_not_answer_hides_nothing_else(project):
    project.env["DATABASE_URL"] = "postgres://nobody:secret@127.0.0.1:1/none"
    project.ops_dir.chmod(0o755)
    findings = found(project, code=1)
    assert findings.keys() >= {"D001", "D006"}
    assert "secret" not in str(findings) and "manage.py doctor" in findings["D001"]["hint"]


@pytest.mark.parametrize(("seconds", "ids"), [(0, []), (-60, ["D005"]), (60, ["D005"])])
def test_clocks_that_are_apart(seconds, ids):
    told = [each.id for each in _clock(datetime.now(UTC) + timedelta(seconds=seconds))]
    assert told == [f"deploy_ops.{each}" for each in ids]
