"""System checks of the settings as such; those of one package are in its `checks`."""

import difflib
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from deploy_ops.conf import PREFIX, conf, known_names
from deploy_ops.errors import ConfigurationError, NoDirectory


@register("deploy_ops")
def check_setting_names(**_options: Any) -> list[CheckMessage]:
    """C001: a DEPLOY_OPS_ setting that does not exist, most often a typing error."""
    known = known_names()
    unknown = [name for name in dir(settings) if name.startswith(PREFIX) and name not in known]
    return [
        Error(
            f"{name} is not a setting of deploy_ops, so it has no effect.",
            hint=_did_you_mean(name, known),
            id="deploy_ops.C001",
        )
        for name in unknown
    ]


@register("deploy_ops")
def check_settings(**_options: Any) -> list[CheckMessage]:
    """C003: a DEPLOY_OPS_ setting of the wrong type or value."""
    return list(_invalid_settings())


def _invalid_settings() -> Iterator[CheckMessage]:
    for name in sorted(known_names()):
        try:
            getattr(conf, name.removeprefix(PREFIX).lower())
        except NoDirectory:
            pass  # C018 tells it, of what is deployed
        except ConfigurationError as error:
            yield Error(str(error), id="deploy_ops.C003")
        except (ValueError, TypeError) as error:
            yield Error(f"{name} cannot be used: {error}.", id="deploy_ops.C003")


def _did_you_mean(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(known))}."
