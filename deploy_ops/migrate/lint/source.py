"""Where the operations of a migration are written, and what is allowed beside them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import getsourcefile
from pathlib import Path

from django.db.migrations import Migration

ALLOW = re.compile(r"#\s*lint:\s*allow\s+(?P<ids>L\d+(?:\s*,\s*L\d+)*)\s*(?::\s*(?P<reason>.*))?$")


@dataclass(frozen=True, slots=True)
class Allowance:
    """A comment `# lint: allow L003: reason`, and the operation that it stands beside."""

    rule: str
    reason: str
    line: int
    index: int | None


@dataclass(frozen=True)
class Source:
    """A migration's file, parsed when something is asked of it: of most nothing is."""

    path: str = ""
    text: str = ""
    operations: int = 0

    @cached_property
    def _written(self) -> tuple[tuple[int, int], ...]:
        """First and last line of each operation in the file."""
        return tuple(_spans(ast.parse(self.text)))

    @cached_property
    def allowances(self) -> tuple[Allowance, ...]:
        """The comments that allow a finding."""
        return tuple(_allowances(self.text, self._written)) if "lint:" in self.text else ()

    def line_of(self, index: int) -> int:
        """The first line of an operation, 0 where it is not known: they are no plain list."""
        is_plain = len(self._written) == self.operations
        return self._written[index][0] if is_plain and 0 <= index < self.operations else 0


def source_of(migration: Migration) -> Source:
    """The file of a migration."""
    try:
        path = getsourcefile(type(migration))
    except TypeError:  # made in memory
        return Source()
    if not path or not Path(path).is_file():
        return Source()
    return Source(_relative(path), _read(path), len(migration.operations))


@cache
def _read(path: str) -> str:
    with tokenize.open(path) as file:  # in the encoding that the file says it has
        return file.read()


def _relative(path: str) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _spans(tree: ast.Module) -> Iterator[tuple[int, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == "Migration":
            for each in node.body:
                if _is_operations(each) and isinstance(each.value, ast.List):  # type: ignore[attr-defined]
                    yield from ((e.lineno, e.end_lineno or e.lineno) for e in each.value.elts)  # type: ignore[attr-defined]


def _is_operations(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return any(isinstance(each, ast.Name) and each.id == "operations" for each in targets)


def _allowances(text: str, spans: tuple[tuple[int, int], ...]) -> Iterator[Allowance]:
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    alone = {line for line in comments if text.splitlines()[line - 1].lstrip().startswith("#")}
    for line, comment in comments.items():
        if found := ALLOW.match(comment):
            index = _index(line, spans, alone)
            for rule in re.split(r"\s*,\s*", found["ids"]):
                yield Allowance(rule, (found["reason"] or "").strip(), line, index)


def _index(line: int, spans: tuple[tuple[int, int], ...], alone: set[int]) -> int | None:
    """The operation around the comment, or the one that begins below it and other comments."""
    for index, (first, last) in enumerate(spans):
        if first <= line <= last:
            return index
    while line in alone:
        line += 1
    return next((index for index, (first, _) in enumerate(spans) if first == line), None)
