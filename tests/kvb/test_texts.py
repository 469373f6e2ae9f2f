import gettext
import re
from pathlib import Path

import pytest
from django.core.management import call_command

APP = Path(__file__).resolve().parents[2] / "kvb" / "reisekosten"
MESSAGES = APP / "locale" / "de" / "LC_MESSAGES"
IN_TEMPLATE = re.compile(r"""{%\s*translate\s+(["'])(.+?)\1""")
IN_PYTHON = re.compile(r'\b(?:_|gettext)\("(.+?)"\)')


@pytest.fixture(scope="module")
def german() -> gettext.GNUTranslations:
    with (MESSAGES / "django.mo").open("rb") as compiled:
        return gettext.GNUTranslations(compiled)


def texts() -> set[str]:
    found = set()
    for pattern, kind in ((IN_TEMPLATE, "html"), (IN_PYTHON, "py")):
        for path in APP.rglob(f"*.{kind}"):
            found |= {
                match[-1] if isinstance(match, tuple) else match
                for match in pattern.findall(path.read_text())
            }
    return found


def test_every_text_has_a_german_translation_in_the_compiled_file(german):
    found = texts()
    assert len(found) > 40
    assert {text for text in found if german.gettext(text) == text} == set()


def test_compiled_file_is_up_to_date_with_its_source(german):
    """Without gettext's tools: each translated pair of the source is in the compiled file."""
    # Long texts are broken into quoted pieces, one a line.
    source = (MESSAGES / "django.po").read_text().replace('"\n"', "")
    assert "fuzzy" not in source
    pairs = re.findall(r'^msgid "(.+)"\nmsgstr "(.*)"$', source, re.MULTILINE)
    assert len(pairs) > 40
    assert [pair for pair in pairs if german.gettext(pair[0]) != pair[1]] == []


@pytest.mark.parametrize("app", ["reisekosten"])
def test_models_and_migrations_agree(app, db):
    call_command("makemigrations", app, check=True, dry_run=True, verbosity=0)
