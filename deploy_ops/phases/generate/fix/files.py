"""The texts of the files that a migration becomes, each read back and compared."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.writer import OperationWriter

from deploy_ops.phases.generate.fix.division import Division
from deploy_ops.phases.generate.fix.source import Key, New, NotRewritable, Source
from deploy_ops.phases.generate.fix.written import Written
from deploy_ops.phases.generate.rewrite import Group, needs_of_ours

DEPTH = 2  # of indentation, where operations stand in the class


def files_of(
    migration: Migration, division: Division, path: Path, parts: Sequence[str]
) -> dict[Path, str]:
    """The text of each file by its path; raises NotRewritable.

    The last one keeps the name, since others depend on it; the `parts` stand before it.
    """
    written = Written.read(path)
    source = _source(written, migration)
    news, imports = _news(migration, division)
    names = [*parts, migration.name]
    texts = {}
    for at, group in enumerate(division.groups):
        needs = [(migration.app_label, names[at - 1])] if at else []
        needs += needs_of_ours(group.operations)
        text = source.written(
            news[at],
            news[:at] + news[at + 1 :],
            imports=imports[at],
            needs=needs,
            without_transaction=not group.atomic,
        )
        _read_back(text, migration, group, needs)
        texts[path.with_name(f"{names[at]}.py")] = written.like(text)
    return texts


def _source(written: Written, migration: Migration) -> Source:
    source = Source(written.text)
    if len(source.chunks) != len(migration.operations):
        raise NotRewritable("its operations are not all written in the list of its file")
    return source


def _news(migration: Migration, division: Division) -> tuple[list[list[New]], list[set[str]]]:
    """What is to stand in each file, and what that imports."""
    seen: set[int] = set()
    news: list[list[New]] = []
    imports: list[set[str]] = []
    for group in division.groups:
        news.append([])
        imports.append(set())
        for operation in group.operations:
            origin = division.origins[id(operation)]
            if operation is migration.operations[origin]:
                news[-1].append(New(old=origin))
            else:
                text, lines = OperationWriter(operation, indentation=DEPTH).serialize()
                news[-1].append(New(text=text, above=None if origin in seen else origin))
                imports[-1] |= {*lines, *_of_django(text)}
            seen.add(origin)
    return news, imports


def _of_django(text: str) -> Iterator[str]:
    """What Django's writer imports in any case."""
    if "migrations." in text:
        yield "from django.db import migrations"


def _read_back(text: str, migration: Migration, group: Group, needs: Sequence[Key]) -> None:
    """Raise NotRewritable unless the text is a migration of just these operations."""
    package = migration.__module__.rpartition(".")[0]
    names = {"__name__": f"{package}.read_back", "__package__": package}
    try:
        exec(compile(text, migration.name, "exec"), names)  # pylint: disable=exec-used
        read: Any = names["Migration"]
        same = _written(read.operations, group, migration) == _written(
            group.operations, group, migration
        )
    except Exception as error:  # pylint: disable=broad-exception-caught  # whatever its code does
        raise NotRewritable(f"what would be written cannot be read: {error}") from error
    if not (same and read.atomic == group.atomic):
        raise NotRewritable("the rewritten file would not have the operations of its safe form")
    if set(read.dependencies) != {*migration.dependencies, *needs}:
        raise NotRewritable(
            "its dependencies are written outside of its class, or changed after it"
        )


def _written(operations: Sequence[Operation], group: Group, migration: Migration) -> list[Any]:
    """New operations as text; old ones, which may hold code of the file, by their kind."""
    old = {id(each) for each in migration.operations}
    return [
        type(each) if id(meant) in old else OperationWriter(each, indentation=0).serialize()[0]
        for each, meant in zip(operations, group.operations, strict=True)
    ]
