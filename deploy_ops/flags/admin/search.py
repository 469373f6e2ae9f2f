"""Finding flags in the list: by words, and by how they stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from deploy_ops.flags.admin.rows import FlagRow


class Show(StrEnum):
    """Which flags are shown."""

    ALL = ""
    ON = "on"
    ROLLING_OUT = "some"
    OFF = "off"
    FORCED = "forced"
    STALE = "stale"

    def includes(self, row: FlagRow) -> bool:
        """Whether a flag is one of those."""
        match self:
            case Show.ALL:
                return True
            case Show.FORCED:
                return row.flag.is_forced
            case Show.STALE:
                return row.flag.is_stale
        return not row.flag.is_undeclared and row.state == self


class SearchForm(forms.Form):
    """What the reader looks for; it is in the address, so that it can be kept and sent on."""

    q = forms.CharField(
        label=gettext_lazy("Search"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"type": "search"}),
    )
    show = forms.ChoiceField(
        label=gettext_lazy("Show"),
        required=False,
        choices=[
            (Show.ALL, gettext_lazy("All flags")),
            (Show.ON, gettext_lazy("On")),
            (Show.ROLLING_OUT, gettext_lazy("In rollout")),
            (Show.OFF, gettext_lazy("Off")),
            (Show.FORCED, gettext_lazy("Forced")),
            (Show.STALE, gettext_lazy("To be removed")),
        ],
    )


@dataclass(frozen=True, slots=True)
class Found:
    """The flags that were looked for, of how many; `is_searched` is False if nothing was asked."""

    form: SearchForm
    rows: Sequence[FlagRow]
    total: int
    is_searched: bool


def search(rows: Sequence[FlagRow], asked: Mapping[str, Any]) -> Found:
    """The flags with every word in name, description or owner; what is no filter is ignored."""
    form = SearchForm(asked)
    given = form.cleaned_data if form.is_valid() else {}
    words, show = given.get("q", "").casefold().split(), Show(given.get("show", ""))
    found = [row for row in rows if show.includes(row) and _has(row, words)]
    return Found(form, found, len(rows), bool(words or show))


def _has(row: FlagRow, words: Sequence[str]) -> bool:
    owner = row.flag.declaration.owner if row.flag.declaration else ""
    text = f"{row.flag.name} {row.description} {owner}".casefold()
    return all(word in text for word in words)
