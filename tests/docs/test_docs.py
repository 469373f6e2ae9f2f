"""Every page is done as its reader would do it, and prints what it says it prints."""

import os
import re
import signal
from contextlib import suppress

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.clusters import free_port
from tests.docs.console import ROOT, environment, is_like, run_steps, steps_of

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if "```console" in path.read_text(encoding="utf-8")
)
# What a page names, and the fixture that really has it.
ELSEWHERE = {
    "postgresql://kvb:PASSWORD@127.0.0.1/kvb": "postgresql_url",
    "https://s3.example.org": "s3_url",
    "127.0.0.1:8001": "old_address",
    "127.0.0.1:8002": "new_address",
}


@pytest.fixture
def postgresql_url(tcp_cluster):
    """Role and database as the page has them made, on a server that asks for the password."""
    tcp_cluster.create_role("kvb", password="geheim-genug")
    tcp_cluster.create_database("kvb", "kvb")
    yield tcp_cluster.url("kvb", "kvb", "geheim-genug")
    tcp_cluster.drop_databases("kvb")
    tcp_cluster.execute("DROP ROLE kvb")


@pytest.fixture
def s3_url():
    """A server that speaks S3, with the bucket of the page."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    keys = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "only-for-tests"}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="kvb-backups")
    client.close()
    yield url
    server.stop()


@pytest.fixture
def old_address(clone):
    """A free port; a server that the page left running there is stopped."""
    yield f"127.0.0.1:{free_port()}"
    stop_server(clone.parent / "kvb-old.pid")


@pytest.fixture
def new_address(clone):
    """Another one."""
    yield f"127.0.0.1:{free_port()}"
    stop_server(clone.parent / "kvb-new.pid")


def stop_server(pid_file):
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int(pid_file.read_text()), signal.SIGTERM)


@pytest.mark.parametrize("page", PAGES)
def test_page_does_what_it_says(page, clone, request):
    text = (ROOT / page).read_text(encoding="utf-8")
    replaced = {
        there: request.getfixturevalue(fixture)
        for there, fixture in ELSEWHERE.items()
        if there in text
    }
    all_ran = run_steps(steps_of(text), clone, environment(clone), replaced)
    for ran in all_ran:
        real = f"\n$ {ran.command.line}\n{ran.output}\n(exit code {ran.code})"
        assert ran.code == 0 or ran.command.may_fail, f"{page}: failed:{real}"
        shown = f"{page} shows:\n{ran.command.shown}\n--- and really:"
        assert is_like(ran.command.shown, ran.output), f"{shown}{real}"
    counts = [match[0] for ran in all_ran if (match := re.match(r"\d+ trips", ran.output))]
    assert len(set(counts)) <= 1, f"{page} loses trips: {counts}"


@pytest.mark.parametrize(
    ("shown", "output"),
    [
        ("Applied a.0001 (0.1 s)", "Applied a.0002 (0.1 s)"),
        ("3", "4"),
        ("Done.\n...\nEnd.", "Done.\nEnd of it."),
        ("Backup 20261123T071439Z-d8c81347 is verified", "Backup latest is verified"),
    ],
)
def test_another_output_is_noticed(shown, output):
    assert not is_like(shown, output)


@pytest.mark.parametrize(
    ("shown", "output"),
    [
        ("Applied a.0001 (0.1 s)", "Applied a.0001 (12.345 s)\n\n"),
        ('{"step": "applied", "seconds": 0.009}', '{"step": "applied", "seconds": 3}'),
        ("Done.\n...\nEnd.", "Done.\nOne.\nTwo.\nEnd."),
        ("Backup 20261123T071439Z-d8c81347", "Backup 20270101T000000Z-00000000"),
        ("", "whatever"),
    ],
)
def test_what_varies_from_run_to_run_may_vary(shown, output):
    assert is_like(shown, output)
