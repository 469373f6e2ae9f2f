"""Whether an expression has another value in each row, so that every row has to be written."""

from __future__ import annotations  # Django's Field is generic in its stubs only

import re
from typing import Any

from deploy_ops.databases.facts import Facts
from deploy_ops.migrate.lint.scene import AnyField, Scene

FUNCTION = re.compile(r'(?:"(?P<quoted>[^"]+)"|(?P<plain>\w+))\s*\(')
TEXT = re.compile(r"'(?:[^']|'')*'")


def is_volatile(sql: str, facts: Facts) -> bool:
    """Whether SQL calls a function that its database calls volatile."""
    names = {match["quoted"] or match["plain"].lower() for match in FUNCTION.finditer(_code(sql))}
    return not facts.volatile.isdisjoint(names)


def has_volatile_default(scene: Scene, each: AnyField) -> bool:
    """Whether the db_default of a field is volatile."""
    if not each.has_db_default():
        return False
    editor: Any = scene.editor
    sql, _ = editor.db_default_sql(each)
    return is_volatile(str(sql), scene.world.facts)


def _code(sql: str) -> str:
    return TEXT.sub("''", sql)
