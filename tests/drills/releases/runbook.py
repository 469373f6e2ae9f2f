"""What the German runbook (docs/betrieb) says of deploy.sh, as words that a drill can type."""

import re

from tests.project.runner import REPOSITORY

COMMAND = re.compile(r"^ *\./deploy\.sh (.*)$", re.M)


def commands() -> set[str]:
    """Every command of deploy.sh on its pages, with TAG for the version of an example."""
    pages = (REPOSITORY / "docs" / "betrieb").glob("*.md")
    found = (words for page in pages for words in COMMAND.findall(page.read_text(encoding="utf-8")))
    return {re.sub(r"v\d+\.\d+\.\d+", "TAG", words) for words in found}
