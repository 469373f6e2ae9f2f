"""What pages name is there: settings, paths, options, units, findings, messages, numbers."""

import ast
import html
import re

import pytest

from deploy_ops.backup.manifest import FORMAT
from deploy_ops.conf import known_names
from deploy_ops.databases.postgresql.sessions import PATIENCE
from deploy_ops.health.probe import BRIEF, DEADLINE, KEEP
from deploy_ops.health.readiness import KEEP_LONGER
from deploy_ops.phases.heartbeat import INTERVAL
from deploy_ops.release.page.backfills import SILENT
from deploy_ops.release.page.backups import OLD
from deploy_ops.release.predeploy import BACKUP_AGE
from deploy_ops.supported import POSTGRESQL
from tests.docs.console import ROOT
from tests.docs.test_reference import ALL_PARSERS, COMMANDS, DJANGOS, options_of

# Names in a decision are those of its day.
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    if path.parent.name != "decisions" and path.name != "CHANGELOG.md"
}
# Named, and not there: a misspelt setting; what a reader writes; what a release may have; data.
ELSEWHERE = {
    "DEPLOY_OPS_BACKUP_DIRECTORY",
    "kvb/reisekosten/migrations/0006_eine_fahrt_am_tag.py",
    "deploy/hooks/pre-migrate",
    "deploy_ops/drain",
}
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(
    r"(?:\./)?((?:benchmarks|config|deploy|deploy_ops|docs|kvb|scripts|tests)/[\w./-]+)"
)
SETTING = re.compile(r"\bDEPLOY_OPS_[A-Z_]*[A-Z]\b")
VARIABLE = re.compile(r"\bKVB_[A-Z_]*[A-Z]\b")
FINDING = re.compile(r"`(?:deploy_ops\.)?([A-Z]\d{3})`|\[([A-Z]\d{3})\]")
UNIT = re.compile(r"kvb-admin[\w@-]*\.(?:service|timer)")


def sources(*folders):
    return "".join(
        path.read_text(encoding="utf-8")
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".env", ".service", ".toml", ".yml", ".yaml", ".sh", ""}
        and path.is_file()
    )


def seconds(duration):
    return f"{duration.total_seconds():g}"


def sentences():
    """Every text in the code; \\0 stands for what an f-string puts in."""
    for path in (ROOT / "deploy_ops").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", "\0") for part in node.values)
                yield "".join(part if isinstance(part, str) else "\0" for part in parts)


def on_pages(find):
    """What `find` finds in the text of each page, where that is anything."""
    return {page: found for page, text in PAGES.items() if (found := find(text))}


def test_settings_are_there():
    there = known_names() | ELSEWHERE
    assert on_pages(lambda text: set(SETTING.findall(text)) - there) == {}


def test_variables_of_the_application_are_read_somewhere():
    read = set(VARIABLE.findall(sources("kvb", "deploy", "scripts")))
    assert on_pages(lambda text: set(VARIABLE.findall(text)) - read) == {}


def test_paths_are_there():
    def missing(text):
        paths = {found[1] for code in CODE.findall(text) if (found := PATH.fullmatch(code))}
        return {path for path in paths - ELSEWHERE if not (ROOT / path).exists()}

    assert on_pages(missing) == {}


def test_findings_are_in_the_reference():
    known = set(re.findall(r"^### (\w+)$", PAGES["docs/reference/findings.md"], re.M))
    assert on_pages(lambda text: {a or b for a, b in FINDING.findall(text)} - known) == {}


def test_units_are_in_deploy():
    there = {path.name for path in (ROOT / "deploy/systemd").iterdir()}

    def missing(text):
        return {re.sub(r"@\w*", "@", unit) for unit in UNIT.findall(text)} - there

    assert on_pages(missing) == {}


def test_commands_in_sentences_have_the_options_that_they_are_named_with():
    assert on_pages(lambda text: [code for code in CODE.findall(text) if unknown(code)]) == {}
    assert unknown("manage.py backups prune --delate") == {"--delate"}


def unknown(code):
    """The options of a command that it does not have; of anything else nothing."""
    words = code.removeprefix("python ").removeprefix("manage.py ").split()
    if not words or words[0] not in COMMANDS:
        return set()
    parser = ALL_PARSERS.get(" ".join(words[:2]), ALL_PARSERS[words[0]])
    named = {word.partition("=")[0] for word in words if word.startswith("--")}
    return named - set(options_of(parser)) - DJANGOS


def test_messages_in_troubleshooting_are_those_of_the_code():
    texts = set(sentences())
    messages = [
        message
        for cell in re.findall(r"^\| (\*.*?) \|", PAGES["docs/howto/troubleshooting.md"], re.M)
        for message in re.findall(r"\*([^*]+)\*", cell)
    ]
    assert len(messages) > 30
    for message in messages:
        for piece in message.split("..."):
            words = piece.strip(" .:;,()")
            assert any(words in text for text in texts), f"{message}: {words!r}"


def test_terminal_of_the_readme_shows_what_the_tutorial_shows():
    """Which is run; `python -m docs.make_terminal_picture` makes the picture."""
    drawn = re.findall(r"<text[^>]*>(.*?)</text>", (ROOT / "docs/terminal.svg").read_text())
    shown = "".join(map(html.unescape, drawn)).replace("\xa0", " ")
    says = re.findall(r"^Reversed reisekosten\.0005_projekt\. .*$", PAGES["docs/tutorial.md"], re.M)
    assert says and says[0] in shown


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("README.md", f"answer within {seconds(DEADLINE)} s"),
        ("docs/reference/health.md", f"is answered within {seconds(DEADLINE)} s"),
        ("docs/reference/health.md", f"for what failed last time only {seconds(BRIEF)} s"),
        ("docs/reference/health.md", f"its outcome serves all polls for {seconds(KEEP)} s"),
        ("docs/reference/health.md", f"| {seconds(KEEP_LONGER['migrations'])} s |"),
        ("docs/reference/health.md", f"| {seconds(KEEP_LONGER['storage'])} s |"),
        ("docs/reference/manifest.md", f"version of this table: {FORMAT} |"),
        ("docs/reference/operations-page.md", f"older than {OLD.days} days"),
        ("docs/reference/operations-page.md", f"wrote nothing for {SILENT.seconds // 60} minutes"),
        ("docs/howto/restore.md", f"waited for up to {seconds(PATIENCE)} s"),
        ("docs/howto/schedule-backups.md", f"--max-age {BACKUP_AGE.total_seconds() / 3600:g}h"),
        ("docs/explanation/architecture.md", "once a minute"),
        ("docs/tutorial.md", f"You need PostgreSQL {POSTGRESQL} or newer"),
    ],
)
def test_numbers_are_those_of_the_code(page, said):
    assert INTERVAL.total_seconds() == 60  # which the last page has in words
    assert said in " ".join(PAGES[page].split())


@pytest.mark.parametrize(
    ("page", "file", "line"),
    [
        ("serve-with-gunicorn", "Dockerfile", "HEALTHCHECK --interval=10s --timeout=8s"),
        ("serve-with-gunicorn", "docker-compose.prod.yml", "stop_grace_period: 75s"),
        ("health-checks", "deploy/kubernetes/web/deployment.yaml", "GracePeriodSeconds: 90"),
        (
            "health-checks",
            "deploy/kubernetes/web/deployment.yaml",
            '"touch /tmp/drain && sleep 10"',
        ),
    ],
)
def test_lines_of_files_are_shown_as_they_are(page, file, line):
    assert line in PAGES[f"docs/howto/{page}.md"]
    assert line in (ROOT / file).read_text(encoding="utf-8")


def test_peers_are_as_fast_on_one_page_as_on_the_other():
    measured = PAGES["docs/reference/performance.md"]
    waffle = [float(each) for each in re.findall(r"^\| waffle .*?\| ([\d.]+) \|", measured, re.M)]
    said = f"{min(waffle):.0f} to {max(waffle):.0f} µs, with locmem"
    assert said in PAGES["docs/explanation/compared-with-others.md"]
