"""What the function of a RunPython writes, as far as its source says so."""

from __future__ import annotations  # Django's Field is generic in its stubs only

import ast
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.core import checks
from django.db import models

from deploy_ops.migrate.lint.impact import Impact, Lock, Work
from deploy_ops.migrate.lint.remark import Remark
from deploy_ops.migrate.lint.scene import Scene, table_of

AT_ONCE = frozenset({"update", "delete"})
ONE_BY_ONE = frozenset({"save", "bulk_update", "update_or_create"})


@dataclass(frozen=True, slots=True)
class Write:
    """A model that is written, by app label and name, and how."""

    model: tuple[str, str]
    is_at_once: bool


def code_impacts(operation: Any, scene: Scene, is_atomic: bool) -> Iterator[Impact]:
    """Rows that code writes: all in one transaction, unless it goes batch by batch without one."""
    tree = _source(operation.code)
    if tree is None or not is_atomic and _has_batches(tree):
        return
    for write in sorted(_writes(tree), key=lambda each: each.model):
        with suppress(LookupError):
            table = table_of(scene.before.get_model(*write.model))
            how = "updates or deletes" if write.is_at_once else "writes row by row"
            yield Impact(
                rule="L204",
                table=table,
                lock=Lock.ROW_EXCLUSIVE,
                work=Work.UPDATE if write.is_at_once else Work.SAVE_EACH,
                what=f"{operation.code.__name__}, which {how} in one transaction,",
                cure=f'Backfill("{write.model[1].lower()}", "...", ...)  # commits batch by batch',
                is_bounded=_has_filter(tree),
            )


def code_remarks(operation: Any) -> Iterator[Remark]:
    """What is wrong with the function whatever it writes."""
    code = inspect.unwrap(operation.code)
    names = getattr(getattr(code, "__code__", None), "co_names", ())
    for name in names:
        value = getattr(code, "__globals__", {}).get(name)
        if isinstance(value, type) and issubclass(value, models.Model):
            yield Remark(
                "L210",
                checks.WARNING,
                f"{code.__name__} imports {name}, the model of today: once a later migration "
                "changes it, this one fails on a new database.",
                f'{name} = apps.get_model("{value._meta.app_label}", "{name}")',
            )


def _source(code: Any) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(code))))
    except (OSError, TypeError, SyntaxError):
        return None


def _has_batches(tree: ast.AST) -> bool:
    nodes = list(ast.walk(tree))
    loops = any(isinstance(node, ast.While | ast.For) for node in nodes)
    slices = any(isinstance(node, ast.Slice) for node in nodes)
    words = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return loops and (slices or bool(words & {"filter", "iterator", "fetchmany"}))


def _has_filter(tree: ast.AST) -> bool:
    """Whether the rows are chosen, so that they may be few."""
    words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return bool(words & {"filter", "exclude", "get", "first", "last"})


def _writes(tree: ast.AST) -> set[Write]:
    known: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and (model := _model(node.value)):
            known |= {each.id: model for each in node.targets if isinstance(each, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            if model := _root(node.iter, known):
                known[node.target.id] = model
    return set(_calls(tree, known))


def _calls(tree: ast.AST, known: dict[str, tuple[str, str]]) -> Iterator[Write]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            model = _root(node.func.value, known) if name in AT_ONCE | ONE_BY_ONE else None
            if model:
                yield Write(model, name in AT_ONCE)


def _model(node: ast.AST) -> tuple[str, str] | None:
    """The model that `apps.get_model("app", "Model")` names."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    words = [each.value for each in node.args if isinstance(each, ast.Constant)]
    if node.func.attr != "get_model" or not words:
        return None
    label, _, name = ".".join(map(str, words)).partition(".")
    return label, name


def _root(node: ast.AST, known: dict[str, tuple[str, str]]) -> tuple[str, str] | None:
    """The model at the beginning of a chain such as `Fahrt.objects.filter(...)[:9]`."""
    while True:
        if model := _model(node):
            return model
        if isinstance(node, ast.Name):
            return known.get(node.id)
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return None
