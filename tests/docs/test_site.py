"""The site builds without a warning, and shows the pages as GitHub shows them."""

import os
import re
import subprocess
import sys

from tests.docs.console import ROOT

CODE = re.compile(r"<(pre|code)\b.*?</\1>", re.S)
PROSE = re.compile(r"<(?:p|td)>.*?</(?:p|td)>", re.S)
# What the site would show as text, where GitHub shows a list, a block of code, a table, a link.
MARKUP = re.compile(r"^ *(?:[-*]|\d+\.) |```|`|\*\*|\]\(|^(?:<\w+>)?\|", re.M)


def test_it_builds_and_no_markup_is_left_over(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 60
    assert {page.name: found for page in pages if (found := left_over(page.read_text()))} == {}


def left_over(html: str) -> list[str]:
    """Paragraphs and cells of a page with markup in them that was to be something else."""
    article = re.search(r"<article.*?</article>", html, re.S)
    shown = CODE.sub("", article[0]) if article else ""
    return [text for text in PROSE.findall(shown) if MARKUP.search(text)]


def test_markup_is_recognised():
    page = "<article><p>A list:\n- one</p><p>fine `not`</p><p><code>`</code> 1.5 - 2</p></article>"
    assert left_over(page) == ["<p>A list:\n- one</p>", "<p>fine `not`</p>"]
