"""The file of a migration in pieces, so that only what changes is written anew."""

import ast
import re
import tokenize
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

from deploy_ops.phases.generate.fix.names import assigned_name, rebinds, unneeded

Key = tuple[str, str]
_COMMENT = re.compile(rb"[ \t]*#[^\n]*")


class NotRewritable(Exception):
    """The file is written in a way that could not be changed without losing something of it."""


@dataclass(frozen=True)
class Chunk:
    """One operation of the list, with what stands before and behind it."""

    lead: bytes
    operation: bytes
    trail: bytes  # its comma, and a comment on the same line

    @property
    def comments(self) -> list[str]:
        """Those inside of the operation."""
        tokens = tokenize.tokenize(BytesIO(self.operation).readline)
        return [each.string for each in tokens if each.type == tokenize.COMMENT]


@dataclass(frozen=True)
class New:
    """What one file is to have: operations of the old one by their place, or the text of new ones.

    `above` is the place of the operation whose comments stand above a new one, if any.
    """

    old: int | None = None
    text: str = ""
    above: int | None = None


class Source:
    """The text of a migration; raises NotRewritable if its operations are no plain list."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self.tree = ast.parse(text)
        self._lines = [0]
        for line in self.data.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self.migration = _migration(self.tree)
        self.operations = _list(self.migration, "operations")
        self.chunks = list(self._chunks())

    def written(
        self,
        news: Sequence[New],
        others: Sequence[Sequence[New]],
        *,
        imports: Collection[str],
        needs: Sequence[Key],
        without_transaction: bool,
    ) -> str:
        """The file with these operations; what only the `others` use is theirs."""
        edits = [self._operations_edit(news)]
        if needs := [each for each in needs if not self._depends_on(each)]:
            edits.append(self._dependencies_edit(needs))
        if without_transaction:
            edits += self._atomic_edit()
        edits += self._import_edit(imports)
        kept, elsewhere = self._old(news), [self._old(each) for each in others]
        edits += [
            (self._end_before(at), self._at(*_end(statement)), b"")
            for at, statement in unneeded(self.tree, self.migration, kept, elsewhere)
        ]
        data = self.data
        for start, stop, text in sorted(edits, reverse=True):
            data = data[:start] + text + data[stop:]
        return data.decode()

    def _old(self, news: Sequence[New]) -> list[ast.expr]:
        return [self.operations.elts[each.old] for each in news if each.old is not None]

    def _operations_edit(self, news: Sequence[New]) -> tuple[int, int, bytes]:
        start, stop = self._span(self.operations)
        used = {at for each in news for at in (each.old, each.above) if at is not None}
        last = len(self.chunks) - 1
        tail = self.data[self._tail : stop - 1] if last in used or not self.chunks else b"\n    "
        return start, stop, b"[" + b"".join(self._text(each) for each in news) + tail + b"]"

    def _text(self, new: New) -> bytes:
        if new.old is not None:
            chunk = self.chunks[new.old]
            return chunk.lead + chunk.operation + chunk.trail
        above = self.chunks[new.above] if new.above is not None else Chunk(b"\n", b"", b"")
        lead = above.lead.rstrip(b" \t")
        comments = "".join(f"        {each}\n" for each in above.comments)
        comment = above.trail.partition(b"#")
        trail = b"  " + b"".join(comment[1:]) if comment[1] else b""
        return (lead or b"\n") + comments.encode() + new.text.encode() + trail

    def _chunks(self) -> Iterator[Chunk]:
        start, stop = self._span(self.operations)
        at = start + 1
        for each in self.operations.elts:
            begin, end = self._span(each)
            behind = self._behind(end, stop - 1)
            yield Chunk(self.data[at:begin], self.data[begin:end], self.data[end:behind] or b",")
            at = behind
        self._tail = at

    def _behind(self, end: int, stop: int) -> int:
        """Where the comma of an operation ends, and a comment on its line."""
        comma = end
        while comma < stop and self.data[comma : comma + 1] != b",":
            if self.data[comma : comma + 1] == b"#":
                comma = self.data.index(b"\n", comma)
            comma += 1
        if comma >= stop:
            return end
        line = self.data[comma + 1 : stop].split(b"\n", 1)[0]
        return comma + 1 + (len(line) if line.strip().startswith(b"#") else 0)

    def _depends_on(self, key: Key) -> bool:
        found = _assigned(self.migration, "dependencies")
        names = {ast.unparse(each) for each in getattr(found, "elts", ())}
        return repr(key) in names

    def _dependencies_edit(self, needs: Sequence[Key]) -> tuple[int, int, bytes]:
        if _assigned(self.migration, "dependencies") is None:
            lines = "".join(f'        ("{app}", "{name}"),\n' for app, name in needs)
            return self._insert_above_operations(f"dependencies = [\n{lines}    ]\n\n    ")
        listed = _list(self.migration, "dependencies")
        text = ", ".join(f'("{app}", "{name}")' for app, name in needs)
        if not listed.elts:
            start, stop = self._span(listed)
            return start, stop, f"[\n        {text},\n    ]".encode()
        _, end = self._span(listed.elts[-1])
        return end, end, f",\n        {text}".encode()

    def _atomic_edit(self) -> Iterator[tuple[int, int, bytes]]:
        value = _assigned(self.migration, "atomic")
        if value is None:
            first = self.migration.body[0]
            if isinstance(first, ast.Expr):  # its docstring
                first = self.migration.body[1]
            at = self._at(first.lineno, first.col_offset)
            yield at, at, b"atomic = False\n\n    "
        elif ast.unparse(value) != "False":
            yield *self._span(value), b"False"

    def _import_edit(self, imports: Collection[str]) -> Iterator[tuple[int, int, bytes]]:
        # What the code of the file calls by a name stays that; whether it serves the operations
        # too (`models` of GeoDjango does) is seen when they are read back.
        missing = [
            each
            for each in sorted(imports)
            if not _is_imported(self.tree, each) and not rebinds(self.tree, each)
        ]
        if not missing:
            return
        above = [each for each in self.tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
        at = self._behind_comment(above[-1]) if above else self._at(self.tree.body[0].lineno, 0)
        lines = "\n".join(missing)
        yield at, at, f"\n{lines}".encode() if above else f"{lines}\n\n".encode()

    def _insert_above_operations(self, text: str) -> tuple[int, int, bytes]:
        assignment = next(
            each for each in self.migration.body if assigned_name(each) == "operations"
        )
        at = self._at(assignment.lineno, assignment.col_offset)
        return at, at, text.encode()

    def _end_before(self, index: int) -> int:
        """The end of the line on which the statement before ends: its comment stays with it."""
        if not index:
            return 0
        return self.data.index(b"\n", self._at(*_end(self.tree.body[index - 1])))

    def _behind_comment(self, statement: ast.stmt) -> int:
        """The end of a statement with the comment on its line."""
        at = self._at(*_end(statement))
        comment = _COMMENT.match(self.data, at)
        return comment.end() if comment else at

    def _span(self, node: ast.expr) -> tuple[int, int]:
        return self._at(node.lineno, node.col_offset), self._at(*_end(node))

    def _at(self, line: int, column: int) -> int:
        return self._lines[line - 1] + column


def _end(node: ast.expr | ast.stmt) -> tuple[int, int]:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset


def _migration(tree: ast.Module) -> ast.ClassDef:
    for each in tree.body:
        if isinstance(each, ast.ClassDef) and each.name == "Migration":
            return each
    raise NotRewritable("it has no class Migration of its own")


def _list(migration: ast.ClassDef, name: str) -> ast.List:
    value = _assigned(migration, name)
    if not isinstance(value, ast.List) or any(isinstance(each, ast.Starred) for each in value.elts):
        raise NotRewritable(f"its {name} are computed, not written as a list")
    return value


def _assigned(migration: ast.ClassDef, name: str) -> ast.expr | None:
    found = [each for each in migration.body if assigned_name(each) == name]
    return found[-1].value if found else None  # type: ignore[attr-defined]


def _is_imported(tree: ast.Module, line: str) -> bool:
    """Whether the file imports what the line does, under the same names."""
    [wanted] = ast.parse(line).body
    assert isinstance(wanted, ast.Import | ast.ImportFrom)
    have = {
        (getattr(each, "module", None), name.name)
        for each in tree.body
        if isinstance(each, type(wanted)) and getattr(each, "level", 0) == 0
        for name in each.names
        if name.asname is None
    }
    return all((getattr(wanted, "module", None), name.name) in have for name in wanted.names)
