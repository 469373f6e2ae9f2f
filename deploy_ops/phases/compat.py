"""Whether code of a release works on the schema in between: findings, decided from values alone.

Code SELECTs every column that its models have, and INSERTs all but generated ones; a column with a
default of the database it may leave to that. What fails is an Error with its cure. Not seen here:
raw SQL of the application. Expressions of constraints are compared as text.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.core import checks
from django.core.checks import CheckMessage, Error

from deploy_ops.phases.column_types import takes_all_of
from deploy_ops.phases.snapshot import Check, Column, Snapshot, Table, Unique


@dataclass(frozen=True, slots=True)
class Code:
    """A release and what its models need; `is_old` for the one that is about to be replaced.

    `is_running` is asked of that one only: it does not run any more where the way leads back to it.
    """

    release: str
    needs: Snapshot
    is_old: bool
    is_running: bool = True

    def __str__(self) -> str:
        runs = self.is_old and self.is_running
        return f"Release {self.release}{', which still runs,' if runs else ''}"


@dataclass(frozen=True, slots=True)
class _Place:
    """A column, or a table where it names none, as a code and the schema in between have it."""

    code: Code
    table: str
    model: str
    column: str = ""
    field: str = ""

    def __str__(self) -> str:
        return f"{self.table}.{self.column}" if self.column else self.table

    @property
    def model_name(self) -> str:
        """As operations of a migration name it."""
        return self.model.rpartition(".")[2].lower()

    def operation(self, name: str, rest: str = "") -> str:
        """An operation on the field, to paste into a migration."""
        return f'    migrations.{name}("{self.model_name}", "{self.field}"{rest}),'

    def online(self, name: str) -> str:
        """An operation of deploy_ops.phases that takes the whole field."""
        return f'    {name}("{self.model_name}", "{self.field}", ...),'

    def waiting(self, name: str, rest: str = "") -> str:
        """The same, so that it waits for the contract phase."""
        return f"    Contract({self.operation(name, rest).strip().rstrip(',')}),"


def compat_findings(old: Code, new: Code, between: Snapshot) -> list[CheckMessage]:
    """Compare both codes with the schema in between."""
    return [*code_findings(old, between), *code_findings(new, between)]


def code_findings(code: Code, between: Snapshot) -> Iterator[CheckMessage]:
    """Compare one code with a schema."""
    for name, needed in code.needs.tables.items():
        if name in between.tables:
            yield from _of_table(code, name, needed, between.tables[name])
        else:
            yield _table_missing(_Place(code, name, needed.model))


def _of_table(code: Code, name: str, needed: Table, there: Table) -> Iterator[CheckMessage]:
    for column, wanted in needed.columns.items():
        place = _Place(code, name, needed.model, column, wanted.field)
        if column in there.columns:
            yield from _of_column(place, wanted, there.columns[column])
        else:
            yield _column_missing(place)
    for column, found in there.columns.items():
        if column not in needed.columns and not found.may_be_left_out:
            yield _left_out(_Place(code, name, there.model, column, found.field))
    for unique in there.uniques:
        is_kept = any(unique.is_implied_by(own) for own in needed.uniques)
        if not is_kept and not _is_null_in(unique, needed, there):
            yield _new_unique(_Place(code, name, there.model), unique)
    for unique in needed.uniques:
        if not any(
            own.is_implied_by(unique) and unique.is_implied_by(own) for own in there.uniques
        ):
            yield _not_unique(_Place(code, name, needed.model), unique)
    conditions = {check.condition for check in needed.checks}
    for check in there.checks:
        if check.condition not in conditions:
            yield _new_check(_Place(code, name, there.model), check)


def _is_null_in(unique: Unique, needed: Table, there: Table) -> bool:
    """Whether rows of this code have NULL in it, which is never twice."""
    unknown = [there.columns[each] for each in unique.columns if each not in needed.columns]
    return any(column.null and not column.default for column in unknown)


def _of_column(place: _Place, wanted: Column, found: Column) -> Iterator[CheckMessage]:
    if found.default == "generated":
        if wanted.default != "generated":
            yield _generated(place)
        return
    if wanted.default == "generated" or (wanted.default and not found.default):
        if not found.may_be_left_out:
            yield _left_out(place)
    if wanted.default == "generated":
        return
    if wanted.null and not found.null:
        yield _sends_null(place)
    if not takes_all_of(found.type, wanted.type):
        yield _narrower(place, wanted, found)


def _table_missing(place: _Place) -> CheckMessage:
    return Error(
        f"{place.code} uses table {place}, which is not there after these migrations. Every "
        f"statement of {place.model} fails.",
        hint="Let it stay until nobody needs it:\n"
        f'    Contract(migrations.DeleteModel("{place.model_name}")),\n'
        "A model that is renamed leaves a view of the old name:\n"
        f'    Contract(migrations.RenameModel("{place.model_name}", ...)),\n'
        f'or it keeps its table with `db_table = "{place.table}"` in its Meta.',
        id="deploy_ops.T005",
    )


def _column_missing(place: _Place) -> CheckMessage:
    cure = (
        f"Let it stay until nobody needs it:\n{place.waiting('RemoveField')}\n"
        f'A field that is renamed keeps its column with `db_column="{place.column}"`.'
        if place.code.is_old
        else "Make the column at once: its operation must not wait."
    )
    return Error(
        f"{place.code} reads and writes column {place}, which is not there after these "
        f"migrations. Every SELECT and INSERT of {place.model} fails.",
        hint=cure,
        id="deploy_ops.T006",
    )


def _left_out(place: _Place) -> CheckMessage:
    cure = (
        "A default of the models does not help old code. Let the database have one, or allow "
        f"NULL and make it NOT NULL in a later release:\n{place.operation('AddField', ', ...')}\n"
        "    with db_default=... or null=True"
        if place.code.is_old
        else f"Let inserts leave it out until it goes:\n{place.waiting('RemoveField')}"
    )
    return Error(
        f"{place.code} inserts without column {place}, which is NOT NULL and has no default in "
        f"the database. Every INSERT of {place.model} fails.",
        hint=cure,
        id="deploy_ops.T007",
    )


def _sends_null(place: _Place) -> CheckMessage:
    cure = (
        "Let the column take NULL until nobody writes it:\n"
        f"{place.waiting('AlterField', ', ...')}\n"
        "A default of the database does not help: NULL is written explicitly."
        if place.code.is_old
        else "Let the column take NULL at once: its AlterField must not wait."
    )
    return Error(
        f"{place.code} writes NULL into column {place}, which is NOT NULL after these migrations. "
        f"Such an INSERT or UPDATE of {place.model} fails.",
        hint=cure,
        id="deploy_ops.T008",
    )


def _narrower(place: _Place, wanted: Column, found: Column) -> CheckMessage:
    cure = (
        "Change the type in a way that waits until no code writes the wider one:\n"
        f"{place.online('ChangeTypeOnline')}"
        if place.code.is_old
        else "Change the type at once if the new one takes all that old code writes; else give the "
        "field a column of its own (db_column), which is kept equal to the old one. Either by:\n"
        f"{place.online('ChangeTypeOnline')}"
    )
    return Error(
        f"{place.code} writes {wanted.type} into column {place}, which is {found.type} after these "
        "migrations. A write of a value that does not fit fails.",
        hint=cure,
        id="deploy_ops.T009",
    )


def _new_unique(place: _Place, unique: Unique) -> CheckMessage:
    of = ", ".join(unique.columns) or unique.detail
    if not place.code.is_old:
        return checks.Warning(
            f"{place.code} may write duplicates into {place} ({of}), which {unique.name} still "
            "forbids until the contract phase, for old code that inserts ON CONFLICT.",
            hint="Put writing duplicates behind a flag, and switch it on after the contract phase.",
            id="deploy_ops.T010",
        )
    return Error(
        f"{place.code} may write duplicates into {place} ({of}), which {unique.name} forbids "
        "after these migrations. Such an INSERT or UPDATE fails.",
        hint="Enforce it once no code writes duplicates: put Contract(...) around the operation "
        f"that makes {unique.name}.",
        id="deploy_ops.T010",
    )


def _not_unique(place: _Place, unique: Unique) -> CheckMessage:
    of = ", ".join(unique.columns) or unique.detail
    cure = (
        f"Remove {unique.name} when no code needs it any more: put Contract(...) around the "
        "operation."
        if place.code.is_old
        else f"Make {unique.name} at once, or insert ON CONFLICT only after the contract phase."
    )
    return checks.Warning(
        f"{place.code} relies on {unique.name}: {place} ({of}) is unique. After these migrations "
        "it is not: INSERT ... ON CONFLICT on it fails (bulk_create with unique_fields).",
        hint=cure,
        id="deploy_ops.T013",
    )


def _new_check(place: _Place, check: Check) -> CheckMessage:
    when = "after these migrations" if place.code.is_old else "until the contract phase"
    return Error(
        f"{place.code} does not know {check.name} of {place}, which demands {check.condition} "
        f"{when}. An INSERT or UPDATE that breaks it fails.",
        hint="Enforce it when nobody writes so any more: put Contract(...) around the operation "
        f"that makes {check.name}.",
        id="deploy_ops.T011",
    )


def _generated(place: _Place) -> CheckMessage:
    return Error(
        f"{place.code} writes column {place}, which the database computes after these migrations. "
        f"Every INSERT of {place.model} fails.",
        hint="Add the generated column under another name, and remove the old one when nobody "
        f"writes it:\n{place.waiting('RemoveField')}",
        id="deploy_ops.T012",
    )
