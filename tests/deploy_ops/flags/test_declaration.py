"""What settings and the environment may say."""

import os
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal

import pytest

from deploy_ops.errors import ConfigurationError
from deploy_ops.flags.declaration import Flag, declared_flags, forced_flags, variable_of
from deploy_ops.flags.rules import Rules

ON, OFF = Rules(everyone=True), Rules(everyone=False)


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        *((word, ON) for word in ("true", "1", "yes", "on", "TRUE", " On ")),
        *((word, OFF) for word in ("false", "0", "no", "off", "OFF")),
        ("5%", Rules(percentage=Decimal(5))),
        ("0.25 %", Rules(percentage=Decimal("0.25"))),
        ("100%", Rules(percentage=Decimal(100))),
    ],
)
def test_environment_forces(monkeypatch, value, rules):
    monkeypatch.setenv("ENABLE_DARK_MODE", value)
    assert forced_flags() == {"dark_mode": rules}


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_variable_forces_nothing(monkeypatch, value):
    monkeypatch.setenv("ENABLE_DARK_MODE", value)
    assert forced_flags() == {}


@pytest.mark.parametrize("value", ["maybe", "5", "101%", "-5%", "0.001%", "5,5%", "%", "truee"])
def test_anything_else_is_an_error_that_names_the_variable(monkeypatch, value):
    monkeypatch.setenv("ENABLE_DARK_MODE", value)
    with pytest.raises(ConfigurationError, match=f"ENABLE_DARK_MODE is '{value.strip()}'"):
        forced_flags()


def test_variable_of_another_program_is_none_of_our_business(monkeypatch):
    monkeypatch.setenv("ENABLE_TELEMETRY", "perhaps")
    assert forced_flags() == {}


@pytest.mark.parametrize(
    "given",
    [
        {"remove_by": "2030-01-01"},
        {"remove_by": datetime(2030, 1, 1)},
        {"remove_by": 2030},
        {"default": "no"},
        {"default": None},
    ],
    ids=str,
)
def test_a_flag_of_other_values_is_refused_by_their_name(settings, given):
    """`check` compared a text with a date, and "no" is true."""
    settings.DEPLOY_OPS_FLAGS = {"dark_mode": Flag("Dark", **given)}
    [(field, value)] = given.items()
    with pytest.raises(ConfigurationError) as refused:
        declared_flags()
    assert f"{field} of DEPLOY_OPS_FLAGS['dark_mode'] is {value!r}" in str(refused.value)


@pytest.mark.parametrize("command", [["check"], ["flags", "list"]])
def test_application_with_an_invalid_variable_does_not_start(command):
    done = subprocess.run(
        [sys.executable, "-m", "django", *command],
        env=os.environ
        | {"DJANGO_SETTINGS_MODULE": "kvb.app.settings_test", "ENABLE_CSV_EXPORT": "an"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "ENABLE_CSV_EXPORT is 'an'" in done.stderr


@pytest.mark.parametrize(
    "flags",
    [{"dark_mode": True}, {"DarkMode": Flag("x")}, {"dark-mode": Flag("x")}, {"": Flag("x")}],
)
def test_what_is_no_flag_is_an_error(settings, flags):
    settings.DEPLOY_OPS_FLAGS = flags
    with pytest.raises(ConfigurationError, match="is not a flag"):
        declared_flags()


def test_flag_is_overdue_from_the_day_after():
    flag = Flag("x", remove_by=date(2027, 3, 31))
    assert not flag.is_overdue(date(2027, 3, 31))
    assert flag.is_overdue(date(2027, 4, 1))
    assert not Flag("x").is_overdue(date(9999, 1, 1))


def test_variable_has_the_name_in_capitals():
    assert variable_of("dark_mode") == "ENABLE_DARK_MODE"
