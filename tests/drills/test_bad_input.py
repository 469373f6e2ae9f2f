"""Bad input and invalid surroundings: a clear error, the right exit code, and nothing changed."""

import pytest

from tests.drills.conftest import TRIPS
from tests.sample_apps.written import WrittenApp

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_pg15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)


@on_sqlite
@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nonsense"], "There is no app 'nonsense'"),
        (["tests"], "There is no app 'tests'"),
        (["good_expand", "0009"], "has no migration that starts with '0009'"),
        (["good_expand", "0"], "more than one migration that starts with '0'"),
        (["--database", "elsewhere"], "invalid choice: 'elsewhere'"),
        (["--lock-timeout", "soon"], "'soon' is not a duration"),
        (["--lock-retries", "-1"], "not a whole number from 0"),
        (["--on-failure", "pray"], "invalid"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_words_that_name_nothing_are_usage_errors(deployed, argv, said):
    project = deployed("good_expand")
    schema = project.database.schema()
    result = project.run("safe_migrate", *argv, check=2)
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert project.database.schema() == schema
    assert project.runs() == []


@on_sqlite
def test_one_transaction_cannot_hold_a_migration_that_refuses_transactions(deployed):
    project = deployed("bad_nonatomic")
    result = project.json("safe_migrate", "--single-transaction", check=1)
    assert result["status"] == "error"
    assert "bad_nonatomic.0002_note_with_text" in result["message"]


@on_pg15
def test_an_unreachable_server_is_said_in_a_sentence(deployed):
    project = deployed("good_expand")
    url = "postgresql://app:geheim-4711@127.0.0.1:1/nowhere"
    result = project.run("safe_migrate", env={"DATABASE_URL": url}, check=1)
    assert "Database nowhere on 127.0.0.1" in result.stderr
    assert "Nothing was changed" in result.stderr
    assert "geheim-4711" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_password_is_refused_and_never_printed(tcp_cluster, sqlite_project):
    tcp_cluster.create_role("berta", password="richtig")
    name = "berta_trips"
    tcp_cluster.execute(f"CREATE DATABASE {name} OWNER berta")
    url = tcp_cluster.url(name, "berta", "falsch-4711")
    for argv in (["safe_migrate"], ["safe_migrate", "--traceback"], ["backup"]):
        result = sqlite_project.run(*argv, env={"DATABASE_URL": url}, check=1)
        assert "password authentication failed" in result.stderr
        assert "falsch-4711" not in result.stdout + result.stderr


@on_sqlite
def test_a_directory_that_others_can_read_is_refused_before_anything_runs(deployed):
    project = deployed("good_expand")
    project.ops_dir.chmod(0o755)
    result = project.run("safe_migrate", check=1)
    assert f"chmod 700 {project.ops_dir}" in result.stderr
    assert "cost_centre" not in project.database.schema()["good_expand_trip"]


@on_sqlite
def test_a_directory_that_cannot_be_made_is_refused(deployed):
    project = deployed("good_expand")
    result = project.run("safe_migrate", env={"DEPLOY_OPS_STATE_DIR": "/proc/nothing"}, check=1)
    assert "Directory /proc/nothing" in result.stderr
    assert "cost_centre" not in project.database.schema()["good_expand_trip"]


@on_sqlite
def test_a_release_that_forgot_a_merge_is_refused(project):
    result = project.with_apps("two_leaves").run("safe_migrate", check=1)
    assert "makemigrations --merge" in result.stderr
    assert project.database.schema() == {}


def test_the_plan_is_shown_and_nothing_is_done(deployed):
    project = deployed("bad_lossy")
    schema = project.database.schema()
    text = project.run("safe_migrate", "--plan", check=0).stdout
    assert "bad_lossy.0002_drop_purpose" in text
    assert "reversal: lossy" in text
    plan = project.json("safe_migrate", "--plan", check=0)["plan"]
    assert [step["name"] for step in plan] == ["0002_drop_purpose", "0003_close_year"]
    assert list(plan[0]["tables"]) == ["bad_lossy_trip"]
    assert project.database.schema() == schema
    assert project.runs() == []


def test_a_step_back_is_a_run_with_a_backup_like_any_other(deployed):
    project = deployed("good_expand")
    project.run("safe_migrate", check=0)
    result = project.json("safe_migrate", "good_expand", "0001", check=0)
    assert result["backup"]
    assert "cost_centre" not in project.database.schema()["good_expand_trip"]
    assert project.trips("good_expand") == TRIPS


@on_sqlite
def test_json_of_a_refusal_is_one_object(deployed):
    project = deployed("good_expand")
    result = project.json("safe_migrate", "nonsense", check=2)
    assert result["status"] == "error"
    assert result["error"] == "UsageError"


@on_sqlite
@pytest.mark.parametrize(
    "code",
    [
        "print('foreign')",
        "__import__('sys').__stdout__.write('foreign')",
        "__import__('logging').getLogger('shop').warning('foreign')",
        "__import__('os').write(1, b'foreign')",
        "__import__('os').system('echo foreign')",
    ],
)
def test_whatever_a_migration_prints_json_is_one_object(project, code):
    """Containers have their logs on stdout, by a handler that took the stream when it was made."""
    shop = WrittenApp(project.directory)
    shop.migration("0001_talk", f"migrations.RunPython(lambda apps, editor: {code})")
    to_stdout = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    root = {"handlers": ["stdout"], "level": "INFO"}
    project.with_apps(shop.name).settings(
        LOGGING={"version": 1, "handlers": {"stdout": to_stdout}, "root": root}
    )

    ended = project.run("safe_migrate", "shop", "--no-backup", "--format", "json", check=0)

    assert ended.json()["status"] == "ok"
    assert "foreign" in ended.stderr
