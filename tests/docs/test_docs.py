"""Every page is done as its reader would do it, and prints what it says it prints."""

import re
import subprocess

import pytest

from tests.docs.console import ROOT, environment, is_like, run_steps, scratch_copy, steps_of

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if "```console" in path.read_text(encoding="utf-8")
)
DATABASE_OF_THE_PAGE = "postgresql://kvb:PASSWORD@127.0.0.1/kvb"


@pytest.fixture
def clone(tmp_path):
    """The project as `make run` leaves it, without the server."""
    directory = tmp_path / "kvb-admin"
    directory.mkdir()
    scratch_copy(directory)
    for command in ("safe_migrate --noinput", "demo_data --if-empty"):
        argv = ["python", "manage.py", *command.split()]
        env = environment(directory)
        subprocess.run(argv, cwd=directory, env=env, check=True, capture_output=True)
    return directory


@pytest.fixture
def postgresql_url(tcp_cluster):
    """Role and database as the page has them made, on a server that asks for the password."""
    tcp_cluster.create_role("kvb", password="geheim-genug")
    tcp_cluster.create_database("kvb", "kvb")
    yield tcp_cluster.url("kvb", "kvb", "geheim-genug")
    tcp_cluster.drop_databases("kvb")
    tcp_cluster.execute("DROP ROLE kvb")


@pytest.mark.parametrize("page", PAGES)
def test_page_does_what_it_says(page, clone, request):
    text = (ROOT / page).read_text(encoding="utf-8")
    replaced = {}
    if DATABASE_OF_THE_PAGE in text:
        replaced[DATABASE_OF_THE_PAGE] = request.getfixturevalue("postgresql_url")
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
        ("Done.\n...\nEnd.", "Done.\nOne.\nTwo.\nEnd."),
        ("Backup 20261123T071439Z-d8c81347", "Backup 20270101T000000Z-00000000"),
        ("", "whatever"),
    ],
)
def test_what_varies_from_run_to_run_may_vary(shown, output):
    assert is_like(shown, output)
