"""What people see of deploy_ops is there in German, in the source and in the compiled file."""

import gettext
import re
from pathlib import Path

import deploy_ops

ROOT = Path(deploy_ops.__file__).parent


def test_every_text_is_translated_in_the_compiled_file():
    folder = ROOT / "locale" / "de" / "LC_MESSAGES"
    source = (folder / "django.po").read_text().replace('"\n"', "")
    assert "fuzzy" not in source
    pairs = re.findall(r'^msgid "(.+)"\nmsgstr "(.*)"$', source, re.MULTILINE)
    with (folder / "django.mo").open("rb") as compiled:
        german = gettext.GNUTranslations(compiled)
    assert len(pairs) > 100
    unescaped = [(left.replace('\\"', '"'), right.replace('\\"', '"')) for left, right in pairs]
    assert [pair for pair in unescaped if not pair[1] or german.gettext(pair[0]) != pair[1]] == []


def test_every_text_of_the_code_is_in_the_source_of_the_translation():
    source = (ROOT / "locale/de/LC_MESSAGES/django.po").read_text().replace('"\n"', "")
    in_template = re.compile(r"""{%\s*translate\s+(["'])(.+?)\1""")
    in_python = re.compile(r'\b(?:_|gettext|gettext_lazy)\("(.+?)"\)')
    found = {
        match[1] for path in ROOT.rglob("*.html") for match in in_template.findall(path.read_text())
    }
    found |= {match for path in ROOT.rglob("*.py") for match in in_python.findall(path.read_text())}
    assert len(found) > 80
    assert {text for text in found if f'msgid "{text}"' not in source} == set()


def test_no_text_is_left_untranslated_not_even_a_plural():
    source = (ROOT / "locale/de/LC_MESSAGES/django.po").read_text().replace('"\n"', "")
    texts = re.findall(r'^msgstr(?:\[\d\])? "(.*)"$', source, re.MULTILINE)
    assert len(texts) > 250 and not [text for text in texts if not text]
