"""The only way to change a flag: the row, the version and the history in one transaction."""

from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from deploy_ops.advice import manage
from deploy_ops.audit import Event, Kind, Outcome
from deploy_ops.errors import FlagConflict, UnknownFlag
from deploy_ops.flags.attributes import refuse_new_attributes
from deploy_ops.flags.declaration import declared_flags
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.store import store
from deploy_ops.flags.stored import flags_alias, rules_of
from deploy_ops.models import FlagChange, FlagState, FlagVersion
from deploy_ops.trail import note
from deploy_ops.version import code_version

NO_ROW = 0  # the revision of a flag whose declaration decides

Source = FlagChange.Source


def stored_rules(name: str) -> tuple[Rules | None, int]:
    """The rules in the database now and their revision, which a change has to name.

    (None, 0) without a row. Read it before an editor begins, and keep the revision in the form.
    """
    state = FlagState.objects.using(flags_alias()).filter(name=name).first()
    return (None, NO_ROW) if state is None else (rules_of(state), state.revision)


def change_flag(  # pylint: disable=too-many-arguments  # all but two are named, and in the history
    name: str,
    rules: Rules | None,
    *,
    expected_revision: int,
    by: str,
    source: Source,
    reason: str = "",
) -> FlagChange | None:
    """Give a flag these rules, or with None no row at all; the entry in the history.

    `expected_revision` is the revision on which the new rules are based, from `stored_rules`; `by`
    names the person for the history. None if the flag has these rules already: then nothing is
    written. UnknownFlag for a flag that is not declared (only its row may still be removed),
    InvalidRules for an attribute that is not declared, FlagConflict if somebody changed it since
    `expected_revision`. Other processes see it at their
    next poll.
    """
    if rules is not None and name not in declared_flags():
        raise UnknownFlag(f"{name!r} is not declared in DEPLOY_OPS_FLAGS. Nothing was changed.")
    alias = flags_alias()
    with transaction.atomic(using=alias):
        version = _next_version(alias)  # takes the row's lock: changes are made one by one
        state = FlagState.objects.using(alias).filter(name=name).first()
        if expected_revision != (state.revision if state else NO_ROW):
            raise FlagConflict(_conflict(last_change(name), name, alias))
        old = rules_of(state) if state else None
        refuse_new_attributes(rules, old)
        if old == rules:
            transaction.set_rollback(True, using=alias)
            return None
        _write(alias, name, rules, version)
        entry = FlagChange(
            flag=name,
            version=version,
            by=by,
            source=source,
            reason=reason.strip(),
            old=old and old.as_json(),
            new=rules and rules.as_json(),
        )
        entry.save(using=alias)
        transaction.on_commit(store.expire, using=alias)
        transaction.on_commit(partial(note, _event(entry)), using=alias)
    return entry


def last_change(name: str) -> FlagChange | None:
    """The newest entry in the history of a flag."""
    return FlagChange.objects.using(flags_alias()).filter(flag=name).first()


def undo_change(change: FlagChange, *, by: str, source: Source, reason: str = "") -> FlagChange:
    """Give a flag the rules that it had before its last change; the entry in the history.

    FlagConflict if it was changed again since. UnknownFlag and InvalidRules if the rules from
    before can be no more. An undo is a change, too, and so can be undone.
    """
    alias = flags_alias()
    with transaction.atomic(using=alias):
        entry = change_flag(
            change.flag,
            None if change.old is None else Rules.of(change.old),
            expected_revision=NO_ROW if change.new is None else change.version,
            by=by,
            source=source,
            reason=reason or f"Undoes change {change.version}, by {change.by}.",
        )
        # The revision does not tell apart two times without a row, the history does.
        past = FlagChange.objects.using(alias).filter(flag=change.flag)
        last = past.exclude(version=entry.version).first() if entry else past.first()
        if entry is None or last != change:
            raise FlagConflict(_conflict(last, change.flag, alias))
    return entry


def _event(entry: FlagChange) -> Event:
    """For the audit outside the database, which a restore does not rewind."""
    details = {name: getattr(entry, name) for name in ("flag", "source", "reason", "old", "new")}
    return Event(Kind.FLAG, Outcome.DONE, code_version(), by=entry.by, details=details)


def _next_version(alias: str) -> int:
    versions = FlagVersion.objects.using(alias)
    counted = {"version": F("version") + 1, "changed_at": timezone.now()}
    if not versions.update(**counted):
        versions.get_or_create(id=1)  # the first change ever, perhaps of two at once
        versions.update(**counted)
    return versions.get().version


def _write(alias: str, name: str, rules: Rules | None, version: int) -> None:
    states = FlagState.objects.using(alias)
    if rules is None:
        states.filter(name=name).delete()
        return
    values = {rule: _stored(value) for rule, value in rules.as_values().items()}
    states.update_or_create(name=name, defaults=values | {"revision": version})


def _stored(value: Any) -> Any:
    """The value as the database takes it: without USE_TZ a moment in local time."""
    is_local = isinstance(value, datetime) and not settings.USE_TZ
    return timezone.make_naive(value) if is_local else value


def _conflict(last: FlagChange | None, name: str, alias: str) -> str:
    who = f"{last.by} changed {name} at {last.at:%Y-%m-%d %H:%M:%S %Z}" if last else "It changed"
    return (
        f"{who}, after you had looked at it. Nothing was changed now. Review the current rules, "
        f"then repeat the change:\n{manage('flags', 'show', name, alias=alias)}"
    )
