"""The statements of RunSQL, read by PostgreSQL's own grammar where pglast is installed."""

from __future__ import annotations  # Django's Field is generic in its stubs only

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.core import checks
from django.db.migrations import RunSQL

from deploy_ops.migrate.lint.remark import Remark

PARAMETER = re.compile(r"%(?:%|s|\(\w+\)s)")


def statements_of(sql: Any) -> list[Any] | Remark:
    """The parsed statements of RunSQL's `sql`, or what kept them from being read."""
    try:
        import pglast
    except ImportError:
        return Remark(
            "L201",
            checks.WARNING,
            "The SQL could not be read, since pglast is not installed: what it locks is not known.",
            "pip install 'deploy-ops[lint]'",
        )
    try:
        return [each.stmt for text in texts_of(sql) for each in pglast.parse_sql(text)]
    except pglast.Error as error:
        return Remark(
            "L201",
            checks.WARNING,
            f"The SQL could not be read ({error.args[0]}): what it locks is not known.",
            "Look at it by hand, and allow this finding beside it with the reason.",
        )


def texts_of(sql: Any) -> Iterator[str]:
    """The texts as the server gets them; a parameter counts as NULL."""
    if sql == RunSQL.noop:
        return
    for each in sql if isinstance(sql, Sequence) and not isinstance(sql, str) else [sql]:
        if isinstance(each, str):
            yield each
        else:
            text, parameters = each[0], each[1] if len(each) > 1 else None
            yield PARAMETER.sub(_filled, text) if parameters is not None else text


def _filled(found: re.Match[str]) -> str:
    return "%" if found[0] == "%%" else "NULL"


def kind(node: Any) -> str:
    """The name of a node's class, as in PostgreSQL's source."""
    return type(node).__name__


def name_of(relation: Any) -> str:
    """A RangeVar as facts name tables: bare, or with its schema."""
    schema = relation.schemaname
    return f"{schema}.{relation.relname}" if schema and schema != "public" else relation.relname


def last_name(names: Any) -> str:
    """The last of a qualified name's parts."""
    return str(names[-1].sval)


def functions_in(node: Any) -> set[str]:
    """Names of the functions that an expression calls."""
    if isinstance(node, tuple):
        return set().union(*map(functions_in, node))
    if not hasattr(node, "__slots__"):
        return set()
    found = {last_name(node.funcname)} if kind(node) == "FuncCall" else set()
    return found.union(*(functions_in(getattr(node, slot, None)) for slot in node.__slots__))
