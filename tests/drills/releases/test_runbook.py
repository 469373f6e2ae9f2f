"""Each command of the German runbook is one that a drill beside this file types, and no other."""

import re
from pathlib import Path

from tests.drills.releases.runbook import commands


def test_every_command_of_the_runbook_is_typed_in_a_drill():
    drills = (path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    typed = {words for text in drills for words in re.findall(r'as_typed\("([^"]+)"', text)}
    assert typed == commands() and len(typed) > 8
