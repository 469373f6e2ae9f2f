"""What the names in a migration's file mean, and which operations need which of them."""

import ast
from collections.abc import Iterable, Iterator, Sequence

Statement = tuple[int, ast.stmt]
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def unneeded(
    tree: ast.Module,
    migration: ast.ClassDef,
    kept: Sequence[ast.expr],
    elsewhere: Sequence[Sequence[ast.expr]],
) -> Iterator[Statement]:
    """Definitions that other files need for their operations, and this one does not."""
    rest = [each for each in migration.body if assigned_name(each) != "operations"]
    # What is no definition stays in each file, with what it uses.
    rest += [each for each in tree.body if not isinstance(each, DEFINITIONS)]
    here = _reached(tree, migration, [*rest, *kept])
    there = {at for each in elsewhere for at in _reached(tree, migration, each)}
    for at, statement in enumerate(tree.body):
        if at in there - here:
            yield at, statement


def _reached(tree: ast.Module, migration: ast.ClassDef, roots: Sequence[ast.AST]) -> set[int]:
    """Places of the definitions that are used, directly or by others."""
    definitions = {
        at: each
        for at, each in enumerate(tree.body)
        if isinstance(each, DEFINITIONS) and each is not migration
    }
    reached: set[int] = set()
    names = {name for root in roots for name in _names(root, ast.Load)}
    while new := {
        at for at, each in definitions.items() if at not in reached and _defines(each) & names
    }:
        reached |= new
        names |= {name for at in new for name in _names(definitions[at], ast.Load)}
    return reached


def _defines(statement: ast.stmt) -> set[str]:
    name = getattr(statement, "name", None)
    return {name} if name else _names(statement, ast.Store)


def _names(node: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {
        each.id
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, context)
    }


def assigned_name(statement: ast.stmt) -> str:
    """The one name that a statement assigns to; "" for all others."""
    targets = statement.targets if isinstance(statement, ast.Assign) else ()
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""


def rebinds(tree: ast.Module, line: str) -> bool:
    """Whether an import would give a name of the file another meaning."""
    [wanted] = ast.parse(line).body
    have = [bound for each in _at_module_level(tree.body) for bound in _bound(each)]
    return any(
        name == wanted_name and origin != wanted_origin
        for wanted_name, wanted_origin in _bound(wanted)
        for name, origin in have
    )


def _at_module_level(statements: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Statements with those in their blocks, but not in functions and classes."""
    for each in statements:
        yield each
        if not isinstance(each, DEFINITIONS):
            blocks = ast.iter_child_nodes(each)
            yield from _at_module_level(
                child for child in blocks if isinstance(child, ast.stmt | ast.ExceptHandler)
            )


def _bound(statement: ast.AST) -> Iterator[tuple[str, str]]:
    """Names with what they come from; "" for what the file itself defines."""
    if isinstance(statement, ast.Import):
        for each in statement.names:
            top = each.name.partition(".")[0]
            yield (each.asname, each.name) if each.asname else (top, top)
    elif isinstance(statement, ast.ImportFrom):
        module = "." * statement.level + (statement.module or "")
        for each in statement.names:
            yield each.asname or each.name, f"{module}.{each.name}"
    elif isinstance(statement, DEFINITIONS):
        for name in _defines(statement):
            yield name, ""
