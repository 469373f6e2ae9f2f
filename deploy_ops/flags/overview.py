"""Every flag with all that is known of it: what the admin and `flags list` show."""

from dataclasses import dataclass
from datetime import date, datetime

from django.db.models import Max, Min
from django.utils import timezone

from deploy_ops.errors import UnknownFlag
from deploy_ops.flags.change import NO_ROW
from deploy_ops.flags.declaration import Flag, declared_flags, forced_flags, variable_of
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.state import Origin, State, take_snapshot
from deploy_ops.flags.stored import flags_alias, read_rows, read_version, rules_of
from deploy_ops.models import FlagChange


@dataclass(frozen=True, slots=True)
class FlagOverview:
    """One flag: its declaration (None for a row that outlived it), state, row and history.

    `state` is what the processes have after their next poll; `rules` and `revision` are the row's,
    whether it has an effect or not; `revision` is what `change_flag` wants as `expected_revision`.
    """

    name: str
    declaration: Flag | None
    state: State | None
    rules: Rules | None
    revision: int
    first_changed_at: datetime | None
    last_change: FlagChange | None
    today: date

    @property
    def is_forced(self) -> bool:
        """Does the environment decide, so that the row has no effect?"""
        return self.state is not None and self.state.origin is Origin.ENVIRONMENT

    @property
    def variable(self) -> str:
        """The environment variable that forces it, or would."""
        return variable_of(self.name)

    @property
    def is_undeclared(self) -> bool:
        """Is there a row and no declaration, so that nothing can read it?"""
        return self.declaration is None

    @property
    def is_overdue(self) -> bool:
        """Was the flag to be removed by now?"""
        return self.declaration is not None and self.declaration.is_overdue(self.today)

    @property
    def is_stale(self) -> bool:
        """Undeclared or overdue: somebody has to tidy up."""
        return self.is_undeclared or self.is_overdue

    @property
    def is_on(self) -> bool | None:
        """On or off for everybody; None if it depends on who asks or when."""
        if self.state is None:
            return False
        return self.state.fixed.enabled if self.state.fixed else None

    @property
    def source(self) -> str:
        """`environment`, `database` or `default`; `undeclared` if nothing reads it."""
        if self.state is None:
            return "undeclared"
        return str(Origin.DEFAULT if _is_empty(self.state) else self.state.origin)


def flag_overviews() -> list[FlagOverview]:
    """All flags, declared ones first and in the order of their declaration."""
    alias = flags_alias()
    declared, rows = declared_flags(), read_rows(alias)
    rules = {name: rules_of(row) for name, row in rows.items()}
    snapshot = take_snapshot(declared, forced_flags(), rules, read_version(alias))
    first, last = _history(alias)
    today = local_today()
    return [
        FlagOverview(
            name=name,
            declaration=declared.get(name),
            state=snapshot.states.get(name),
            rules=rules.get(name),
            revision=rows[name].revision if name in rows else NO_ROW,
            first_changed_at=first.get(name),
            last_change=last.get(name),
            today=today,
        )
        for name in [*declared, *(name for name in sorted(rows) if name not in declared)]
    ]


def local_today() -> date:
    """The day it is in TIME_ZONE, whether USE_TZ is on or not."""
    return datetime.now(timezone.get_current_timezone()).date()


def flag_overview(name: str) -> FlagOverview:
    """One flag; UnknownFlag if it is neither declared nor has a row."""
    for found in flag_overviews():
        if found.name == name:
            return found
    names = ", ".join(declared_flags()) or "none"
    raise UnknownFlag(f"{name!r} is not declared in DEPLOY_OPS_FLAGS. Declared: {names}.")


def _history(alias: str) -> tuple[dict[str, datetime], dict[str, FlagChange]]:
    """The time of each flag's first change, and its last change."""
    changes = FlagChange.objects.using(alias)
    ends = changes.order_by().values_list("flag").annotate(Min("at"), Max("version"))
    first = {flag: at for flag, at, _ in ends}
    newest = changes.filter(version__in=[version for *_, version in ends])
    return first, {change.flag: change for change in newest}


def _is_empty(state: State) -> bool:
    """Is there a row without any rule, so that the declaration decides?"""
    return state.fixed is not None and state.fixed.reason == Origin.DEFAULT
