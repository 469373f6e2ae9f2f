"""A scrape of real gunicorn with two workers."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.conftest import running_cluster, scratch_database
from tests.deploy_ops.health.serving import FragileCluster
from tests.kvb.production import Production
from tests.programs import find_program
from tests.project.runner import REPOSITORY

TOKEN = "a7" * 20


@pytest.fixture(scope="module")
def database(pg15_cluster):
    yield from scratch_database(pg15_cluster)


@pytest.fixture(scope="module")
def production(database, tmp_path_factory):
    """One server for the tests that leave it as it was."""
    server = Production(tmp_path_factory.mktemp("production"), database.url)
    server.manage("migrate", "-v0")
    with server:
        yield server


@pytest.fixture
def fragile():
    yield from running_cluster(15, make=FragileCluster)


@pytest.fixture
def mortal(database, tmp_path):
    """A server of the test's own, to be killed."""
    with Production(tmp_path, database.url) as server:
        yield server


def scrape(server: Production) -> str:
    answer = server.get("/metrics")
    assert answer.status == 200, server.log()
    return answer.content.decode()


def scrape_until(server: Production, is_so: Callable[[str], bool]) -> str:
    """The first scrape of which that is so; each worker reads the sources for itself."""
    deadline = time.monotonic() + 30
    while not is_so(text := scrape(server)):
        assert time.monotonic() < deadline, text
        time.sleep(0.2)
    return text


def has_read_all(text: str) -> bool:
    """Whether that worker has read every source; at first one may be late."""
    return "metrics_source_up" in text and not re.search(r"source_up\{.*\} 0\.0", text)


def value(text: str, sample: str, default: float | None = None) -> float:
    """Of one sample, its labels included."""
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.M)
    if found is None and default is not None:
        return default
    assert found, f"there is no {sample} in\n{text}"
    return float(found[1])


PENDING = 'deploy_ops_migrations_pending{alias="default"}'
REQUESTS = "django_http_requests_before_middlewares_total"
ANSWERS = 'django_http_responses_total_by_status_total{status="200"}'
QUERIES = 'django_db_execute_total{alias="default",vendor="postgresql"}'


def test_counters_add_up_over_workers(production):
    before = scrape(production)
    count = production.visit_every_worker("/query/")
    after = scrape(production)
    assert value(after, REQUESTS) - value(before, REQUESTS) == count
    assert value(after, ANSWERS) - value(before, ANSWERS, default=0) == count
    assert value(after, QUERIES) - value(before, QUERIES, default=0) >= count
    # Whichever worker answers: all of them say the same.
    assert {value(scrape(production), REQUESTS) for _ in range(8)} == {value(after, REQUESTS)}


def test_polls_and_scrapes_are_no_visitors(production):
    production.visit_every_worker("/query/")
    before = scrape(production)
    for path in ("/health/", "/health/db/", "/health/ready/", "/metrics"):
        assert production.get(path).status == 200
    after = scrape(production)
    counted = [line for line in before.splitlines() if line.startswith("django_http_")]
    assert counted == [line for line in after.splitlines() if line.startswith("django_http_")]


def test_what_a_worker_counted_outlives_it(mortal):
    mortal.visit_every_worker("/query/")
    before = scrape(mortal)
    files = counting_files(mortal)
    for _ in range(3):
        gone = int(mortal.visit("/query/").content)
        os.kill(gone, signal.SIGKILL)
        wait_until(lambda gone=gone: not any(str(gone) in name for name in counting_files(mortal)))
        mortal.visit_every_worker("/query/")
    after = scrape(mortal)
    assert value(after, REQUESTS) >= value(before, REQUESTS) + 3 * 3
    # Two workers and the sum of all that are gone: it does not grow with their number.
    assert len(counting_files(mortal)) <= len(files) + len(files) / 2


def test_file_that_a_worker_made_and_has_not_filled_is_no_failure(mortal):
    """A worker that starts makes one, and one that is killed in that moment leaves it behind."""
    count = mortal.visit_every_worker("/query/")
    (directory,) = mortal.directories()
    (mortal.directory / directory / "counter_4194305.db").touch()
    assert value(scrape(mortal), REQUESTS) == count


def test_directory_goes_with_the_server(mortal):
    assert len(mortal.directories()) == 1
    mortal.process.send_signal(signal.SIGTERM)
    mortal.process.wait(30)
    assert mortal.directories() == []


def test_server_that_was_killed_leaves_nothing_to_the_next_one(mortal, database):
    mortal.visit_every_worker("/query/")
    os.killpg(mortal.process.pid, signal.SIGKILL)
    mortal.process.wait(30)
    (left,) = mortal.directories()
    a_minute_ago = time.time() - 60
    os.utime(mortal.directory / left, (a_minute_ago, a_minute_ago))
    with Production(mortal.directory, database.url) as again:
        assert left not in again.directories() and len(again.directories()) == 1
        assert value(scrape(again), REQUESTS) == 0


def test_reload_keeps_the_counts(mortal):
    count = mortal.visit_every_worker("/query/")
    mortal.process.send_signal(signal.SIGHUP)
    first = scrape(mortal)
    wait_until(lambda: any("gone" in name for name in counting_files(mortal)))
    assert value(first, REQUESTS) == value(scrape(mortal), REQUESTS) == count


def test_backup_shows_up_with_size_and_proof(production):
    assert 'deploy_ops_backups{state="complete"} 0.0' in scrape_until(production, has_read_all)
    production.manage("backup", "--noinput")
    production.process.send_signal(signal.SIGHUP)  # the catalog is read once a minute
    text = scrape_until(production, lambda text: 'backups{state="complete"} 1.0' in text)
    label = re.search(r'deploy_ops_backup_last_timestamp_seconds(\{database="[^"]+"\})', text)[1]
    assert time.time() - value(text, f"deploy_ops_backup_last_timestamp_seconds{label}") < 120
    assert value(text, f"deploy_ops_backup_last_size_bytes{label}") > 1000
    verified = r'^deploy_ops_backup_verified_timestamp_seconds\{.*level="(\w+)"\} (\S+)$'
    times = dict(re.findall(verified, text, re.M))
    assert times and all(time.time() - float(at) < 120 for at in times.values())


def test_failing_check_is_counted_and_shown(production, database):
    database.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
    wait_until(lambda: production.get("/health/ready/").status == 503)
    text = scrape_until(production, lambda text: 'health_check_up{check="migrations"} 0.0' in text)
    assert value(text, 'deploy_ops_health_failures_total{check="migrations"}') >= 1
    assert value(text, 'deploy_ops_health_failures_total{check="database"}') == 0
    # Read every 10 s and worker.
    scrape_until(production, lambda text: value(text, PENDING, default=0) == 1)
    production.manage("migrate", "sessions", "--fake", "-v0")


def test_promtool_has_nothing_to_say_about_it(production):
    promtool = find_program("promtool")
    production.visit_every_worker("/query/")
    production.visit("/fail/")
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=scrape(production),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_scrape_answers_while_the_database_is_frozen(fragile, tmp_path):
    # One worker, since what was last known is known to each by itself.
    with Production(tmp_path, fragile.create_database(), "--workers=1") as server:
        server.manage("migrate", "-v0")
        scrape_until(server, has_read_all)
        with fragile.frozen():
            started = time.monotonic()
            scrape_until(server, lambda text: 'source_up{source="migrations"} 0.0' in text)
            answer = server.get("/metrics")
            assert time.monotonic() - started < 30 and answer.seconds < 2
            text = answer.content.decode()
            assert value(text, 'deploy_ops_health_check_up{check="database"}') == 0
            # As it was last known.
            assert value(text, PENDING) == 0
        scrape_until(server, has_read_all)


def test_reference_has_exactly_the_metrics_of_deploy_ops(production):
    page = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `(deploy_ops_\w+)` \|", page, re.M))
    assert (
        set(re.findall(r"^# TYPE (deploy_ops_\w+) ", scrape_until(production, has_read_all), re.M))
        == documented
    )


def test_strangers_learn_nothing(database, tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    settings = {
        "DEPLOY_OPS_METRICS_ALLOWED_NETWORKS": "",
        "DEPLOY_OPS_METRICS_TOKEN_FILE": str(token),
    }
    with Production(tmp_path, database.url, **settings) as server:
        for given in ({}, {"Authorization": "Bearer " + TOKEN[:-1]}, {"Authorization": TOKEN}):
            answer = server.get("/metrics", **given)
            assert (answer.status, answer.content) == (403, b"")
            assert "1.2.3" not in str(answer.headers)
        assert server.get("/metrics", Authorization=f"Bearer {TOKEN}").status == 200
        # Through a proxy, too: the token vouches for the caller, wherever it comes from.
        assert server.visit("/metrics", Authorization=f"Bearer {TOKEN}").status == 200
        assert TOKEN not in server.log()


def counting_files(server: Production) -> list[str]:
    (directory,) = server.directories()
    return [name for name in os.listdir(server.directory / directory) if name.endswith(".db")]


def wait_until(is_so) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)
