"""Moments as people type them, in local time, where one may be missing and another come twice."""

from datetime import UTC, datetime

from django.utils import timezone

from deploy_ops.errors import InvalidRules


def readings(typed: datetime) -> tuple[datetime, ...]:
    """The moments that a local time may mean: one; none where clocks go forward, two where back.

    InvalidRules for the first and last hours that there are, which other zones have not.
    """
    return tuple(moment for moment in _folds(typed) if moment.replace(tzinfo=None, fold=0) == typed)


def moment_in_zone(typed: datetime) -> datetime:
    """The one moment that a local time means; InvalidRules, with what to type, if it is not one."""
    found = readings(typed)
    if len(found) == 1:
        return found[0]
    zone, text = timezone.get_current_timezone_name(), _to_minute(typed)
    if found:
        raise InvalidRules(
            f"{text} comes twice in {zone}, where the clocks are set back. Nothing was changed. "
            f"Say which one is meant: {' or '.join(map(_to_minute, found))}."
        )
    raise InvalidRules(
        f"{text} does not exist in {zone}, where the clocks are set forward. Nothing was changed. "
        f"Name another time, such as {_to_minute(_folds(typed)[-1])}."
    )


def _folds(typed: datetime) -> list[datetime]:
    """The moments on both sides of a change of the clocks, as the clocks then show them."""
    zone = timezone.get_current_timezone()
    try:
        found = {typed.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        return [moment.astimezone(zone) for moment in sorted(found)]
    except OverflowError:
        raise InvalidRules(
            f"{typed} is out of the range of years 1 to 9999. Nothing was changed."
        ) from None


def _to_minute(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
