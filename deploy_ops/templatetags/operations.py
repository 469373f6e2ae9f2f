"""How the operations page writes ages and durations: short, and calm from one look to the next."""

from datetime import UTC, datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deploy_ops.health.titles import title_of
from deploy_ops.release.page.words import WORDS
from deploy_ops.times import aware

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86400


@register.filter
def duration(value: timedelta | float | None) -> str:
    """`0.4 s`, `12 s`, `4 min 10 s`, `2 h 5 min`; nothing for None."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 9.95:
        return f"{number_format(seconds, 1)} s"
    whole = round(seconds)
    if whole < HOUR:
        return _in_two_units(whole, "min", "s")
    return _in_two_units(whole // MINUTE, "h", "min")


def _in_two_units(small: int, large_unit: str, small_unit: str) -> str:
    large, rest = divmod(small, 60)
    words = (f"{large} {large_unit}" if large else "", f"{rest} {small_unit}" if rest else "")
    return " ".join(filter(None, words))


@register.filter
def grouped(number: float) -> str:
    """A large whole number as people read it: `3,000,000`, or `3.000.000`."""
    return number_format(round(number), force_grouping=True)


@register.filter
def local(moment: datetime | None) -> datetime | None:
    """The moment in the reader's time zone, whether USE_TZ is on or not; for `date` to show."""
    return moment and timezone.localtime(aware(moment))


@register.filter
def word(key: str, kind: str) -> str:
    """What a value is called in the reader's language; the value itself if nobody knows it."""
    return str(WORDS[kind].get(key, key))


@register.filter
def check_title(name: str) -> str:
    """What a check is called in the reader's language."""
    return title_of(name)


@register.filter
def ago(moment: datetime | None) -> str:
    """`just now`, `5 min ago`, `3 h ago`, `4 days ago`; nothing for None."""
    if moment is None:
        return ""
    seconds = (datetime.now(UTC) - aware(moment)).total_seconds()
    if seconds < -MINUTE:
        return _("in the future")
    if seconds < MINUTE:
        return _("just now")
    if seconds < HOUR:
        return _("%d min ago") % (seconds // MINUTE)
    if seconds < 2 * DAY:
        return _("%d h ago") % (seconds // HOUR)
    days = int(seconds // DAY)
    return ngettext("%d day ago", "%d days ago", days) % days
