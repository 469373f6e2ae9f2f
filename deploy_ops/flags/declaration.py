"""What settings and the environment say of flags. Settings import this before Django is set up."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError
from deploy_ops.flags.rules import Rules

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_PERCENTAGE = re.compile(r"(\d{1,3}(?:\.\d{1,2})?) ?%")
_WORDS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


@dataclass(frozen=True, slots=True)
class Flag:
    """One entry of DEPLOY_OPS_FLAGS: what it switches, and who takes it out again by when.

    `default` holds while neither the environment nor the database says anything.
    """

    description: str
    default: bool = False
    owner: str = ""
    remove_by: date | None = None

    def is_overdue(self, today: date) -> bool:
        """Is the day by which the flag was to be removed over?"""
        return self.remove_by is not None and self.remove_by < today


def declared_flags() -> Mapping[str, Flag]:
    """DEPLOY_OPS_FLAGS; ConfigurationError for an entry that is no flag or has no valid name."""
    flags = conf.flags
    for name, flag in flags.items():
        if not isinstance(flag, Flag) or not isinstance(name, str) or not is_name(name):
            raise ConfigurationError(
                f"DEPLOY_OPS_FLAGS[{name!r}] is not a flag. Nothing was started. A name has small "
                'letters, digits and _, and a value reads Flag("What it switches").'
            )
        day = flag.remove_by
        if day is not None and type(day) is not date:  # pylint: disable=unidiomatic-typecheck
            raise ConfigurationError(  # a datetime is a date too, and cannot be compared with one
                f"remove_by of DEPLOY_OPS_FLAGS[{name!r}] is {day!r}. Nothing was started. It is a "
                "datetime.date, such as date(2030, 1, 31)."
            )
        if not isinstance(flag.default, bool):
            raise ConfigurationError(
                f"default of DEPLOY_OPS_FLAGS[{name!r}] is {flag.default!r}. Nothing was started. "
                "It is True or False."
            )
    return flags


def is_name(text: str) -> bool:
    """Can a flag, or an attribute, have this name?"""
    return _NAME.fullmatch(text) is not None


def variable_of(name: str) -> str:
    """The environment variable that forces a flag: ENABLE_CSV_EXPORT for csv_export."""
    return f"ENABLE_{name.upper()}"


def forced_flags() -> dict[str, Rules]:
    """What the environment forces, by flag; ConfigurationError naming an invalid variable."""
    return {
        name: _parse(variable_of(name), value)
        for name in declared_flags()
        if (value := os.environ.get(variable_of(name), "").strip())
    }


def _parse(variable: str, value: str) -> Rules:
    if (everyone := _WORDS.get(value.lower())) is not None:
        return Rules(everyone=everyone)
    found = _PERCENTAGE.fullmatch(value)
    if found is None or float(found[1]) > 100:
        raise ConfigurationError(
            f"{variable} is {value!r}, which is not a valid value; startup aborted. Set it to "
            "true, false, 1, 0, yes, no, on, off or a percentage such as 5%, or unset it."
        )
    return Rules.of_percentage(found[1])
