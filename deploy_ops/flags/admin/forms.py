"""What the pages ask before a flag changes: always a reason, and on one page the rules."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deploy_ops.conf import conf
from deploy_ops.errors import InvalidRules
from deploy_ops.flags.accounts import find_users, group_names, names_of_users
from deploy_ops.flags.moments import readings
from deploy_ops.flags.rules import Rules

EVERYONE = {"": None, "on": True, "off": False}
# What <input type="datetime-local"> shows and sends.
# https://html.spec.whatwg.org/multipage/input.html#local-date-and-time-state-(type=datetime-local)
MOMENT = "%Y-%m-%dT%H:%M"


class ReasonForm(forms.Form):
    """A reason, and the revision that the person has seen."""

    revision = forms.IntegerField(widget=forms.HiddenInput)
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("For the history: why now, and who asked for it."),
    )


class Moment(forms.DateTimeField):
    """A moment in the site's time zone, typed with the browser's own calendar.

    `stored` is the one that the rules have: as long as nothing else is typed it stays, with its
    seconds and where clocks show a time twice.
    """

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=MOMENT)
    stored: datetime | None = None

    def to_python(self, value: Any) -> datetime | None:
        """Refuse a time that clocks leave out or show twice, and say which of the two it is."""
        if self.stored and value == timezone.localtime(self.stored).strftime(MOMENT):
            return self.stored
        try:
            # pylint: disable-next=no-member  # the field's, which pylint does not find
            moment: datetime | None = super().to_python(value)
        except forms.ValidationError as error:
            if error.code != "ambiguous_timezone":
                raise
            moment = (error.params or {})["datetime"]
        try:
            moment = _in_zone(moment) if moment and timezone.is_naive(moment) else moment
            Rules(starts_at=moment)
        except InvalidRules:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None
        return moment


def _in_zone(typed: datetime) -> datetime:
    """The moment that a local time means."""
    found = readings(typed)
    if len(found) == 1:
        return found[0]
    zone = timezone.get_current_timezone_name()
    if found:
        text = _("The clocks in %s show this time twice on that day. Choose another one.")
    else:
        text = _("This time does not exist: the clocks in %s are set forward then.")
    raise forms.ValidationError(text % zone)


class RulesForm(ReasonForm):
    """The rules of a flag; those who may not switch it are not asked about everyone."""

    everyone = forms.ChoiceField(
        label=gettext_lazy("State"),
        required=False,
        widget=forms.RadioSelect,
        choices=[
            ("", gettext_lazy("As the rules below say")),
            ("on", gettext_lazy("On for everyone")),
            ("off", gettext_lazy("Off for everyone, whatever the rules below say")),
        ],
    )
    percentage = forms.DecimalField(
        label=gettext_lazy("Percentage of users"),
        required=False,
        min_value=0,
        max_value=100,
        decimal_places=2,
        help_text=gettext_lazy(
            "0 to 100 in steps of 0.01. The same people stay in when it is raised. With few users"
            " it is rough: of 1000 people, mostly 37 to 64 are in at 5 %."
        ),
    )
    staff = forms.BooleanField(label=gettext_lazy("Staff"), required=False)
    superusers = forms.BooleanField(label=gettext_lazy("Superusers"), required=False)
    users = forms.CharField(
        label=gettext_lazy("Users"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("User names, separated by commas or lines."),
    )
    groups = forms.MultipleChoiceField(
        label=gettext_lazy("Groups"), required=False, widget=forms.CheckboxSelectMultiple
    )
    starts_at = Moment(label=gettext_lazy("From"), required=False)
    ends_at = Moment(label=gettext_lazy("Until"), required=False)

    field_order = ["revision", "everyone", "percentage", "staff", "superusers", "users", "groups"]

    def __init__(self, data: Any = None, *, rules: Rules, revision: int, may_switch: bool) -> None:
        super().__init__(data, initial=initial_of(rules) | {"revision": revision})
        self._stored = rules
        self._attributes: list[str] = []
        self._set_choices_of_groups()
        self._add_attributes()
        for name in ("starts_at", "ends_at"):
            setattr(self.fields[name], "stored", getattr(rules, name))
        slider = {"step": "0.01", "data-slider": _("Percentage of users, in whole percents")}
        self.fields["percentage"].widget.attrs.update(slider)
        if not may_switch:
            del self.fields["everyone"]

    def _set_choices_of_groups(self) -> None:
        # A group that was deleted stays to be seen, and can be taken out.
        known = group_names() | self._stored.groups
        choices = [(name, name) for name in sorted(known)]
        field = self.fields["groups"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = choices
        if not choices:
            field.help_text = _("There are no groups yet.")

    def _add_attributes(self) -> None:
        # One that is no longer declared stays to be seen, and can be taken out.
        for name in sorted({*conf.flags_attributes, *self._stored.by_attribute}):
            values = self._stored.by_attribute.get(name, [])
            self.fields[_field_of(name)] = forms.CharField(
                label=name,
                required=False,
                initial="\n".join(values),
                widget=forms.Textarea(attrs={"rows": 2}),
                help_text=_("Values, one on each line."),  # which may have commas
            )
            self._attributes.append(name)

    @property
    def attributes(self) -> list[forms.BoundField]:
        """A field for the values of each attribute."""
        return [self[_field_of(name)] for name in self._attributes]

    @property
    def audience(self) -> list[forms.BoundField]:
        """The check boxes that stand side by side."""
        return [self["staff"], self["superusers"]]

    @property
    def dates_hint(self) -> str:
        """What dates mean, with the name of the time zone in which they are typed."""
        zone = timezone.get_current_timezone_name()
        return _("Before and after, the flag is off for everyone. Times are those of %s.") % zone

    def clean_users(self) -> frozenset[str]:
        """Primary keys of the users that are named."""
        names = _split(self.cleaned_data["users"], r"[,;\r\n]+")
        users = find_users(names)
        if unknown := [name for name in names if name not in users]:
            raise forms.ValidationError(_("There is no user %s.") % ", ".join(unknown))
        return frozenset(str(user.pk) for user in users.values())

    def clean(self) -> dict[str, Any]:
        """Refuse an end before the beginning."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        starts_at, ends_at = cleaned.get("starts_at"), cleaned.get("ends_at")
        if starts_at and ends_at and starts_at >= ends_at:
            self.add_error("ends_at", _("The end has to be later than the beginning."))
        return cleaned

    @property
    def rules(self) -> Rules | None:
        """The rules of a valid form; None if it has none, so that the declaration decides."""
        given = self.cleaned_data
        everyone = EVERYONE[given["everyone"]] if "everyone" in given else self._stored.everyone
        attributes = {name: _split(given[_field_of(name)], r"[\r\n]+") for name in self._attributes}
        rules = Rules.of(given | {"everyone": everyone, "attributes": attributes})
        return None if rules == Rules() else rules


class WhoForm(forms.Form):
    """Somebody of whom to say whether a flag is on; nobody in particular if left empty."""

    user = forms.CharField(
        label=gettext_lazy("User"),
        required=False,
        help_text=gettext_lazy("A user name, to see whether this person is included and why."),
    )
    prefix = "who"

    def clean_user(self) -> Any:
        """The user of that name, or None."""
        name = self.cleaned_data["user"]
        users = find_users([name]) if name else {}
        if name and name not in users:
            raise forms.ValidationError(_("There is no user %s.") % name)
        return users.get(name)


def initial_of(rules: Rules) -> dict[str, Any]:
    """Rules as the form shows them; accounts that were deleted fall out with the next change."""
    words = {value: word for word, value in EVERYONE.items()}
    return rules.as_values() | {
        "everyone": words[rules.everyone],
        "percentage": _plain(rules.percentage),
        "users": ", ".join(sorted(names_of_users([rules]).values())),
        "starts_at": _to_minute(rules.starts_at),
        "ends_at": _to_minute(rules.ends_at),
    }


def _field_of(attribute: str) -> str:
    return f"attribute_{attribute}"


def _split(typed: str, separator: str) -> list[str]:
    """What stands between separators, without blanks around it."""
    return [text.strip() for text in re.split(separator, typed) if text.strip()]


def _plain(percentage: Decimal | None) -> Decimal | None:
    """5 instead of 5.00, and never 1E+1."""
    if percentage is None or percentage % 1:
        return percentage
    return percentage.quantize(Decimal(1))


def _to_minute(moment: datetime | None) -> datetime | None:
    return moment and timezone.localtime(moment).replace(second=0, microsecond=0)
