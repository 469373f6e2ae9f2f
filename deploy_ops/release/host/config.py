"""What deploy.sh knows of its host: `deploy/host.toml`, or the file that DEPLOY_HOST names."""

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy_ops.errors import ConfigurationError
from deploy_ops.webhooks import WEB, find_fault

FILE = Path("deploy") / "host.toml"
COLOUR = "{colour}"
# nan is a number to TOML, and no time is ever over it.
SPOKEN: Mapping[Any, str] = {
    str: "text",
    list: "a list of texts",
    bool: "true or false",
    int: "a whole number",
    int | float: "a number",
}
NOT_NEGATIVE = ("free_bytes", "gate_seconds", "watch_seconds")


class Target(StrEnum):
    """What a host is for: production takes tags only, staging the head of the main branch too."""

    STAGING = "staging"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class Host:  # pylint: disable=too-many-instance-attributes
    """One host. Paths are absolute, times are seconds; what has a default need not be in the file.

    `sockets` holds the socket of each colour and the links to them, `state` the lock and the record
    of what is on its way, `audit` is the application's DEPLOY_OPS_STATE_DIR. `environment` are
    systemd's EnvironmentFiles, which the commands of a release get too. `units` are started and
    stopped with a colour, the one that serves first. `notify` are webhooks that are told of each
    event. `health_path` and `metrics_path` are those of the application's settings.
    """

    root: Path
    url: str
    sockets: Path
    state: Path
    audit: Path
    environment: tuple[Path, ...]
    units: tuple[str, ...]
    user: str = ""
    target: Target = Target.PRODUCTION
    main: str = "refs/remotes/origin/main"
    verify_tags: bool = False
    python: str = "python3"
    keep: int = 5
    free_bytes: int = 1_000_000_000
    gate_seconds: float = 60.0
    watch_seconds: float = 60.0
    health_path: str = "/health/"
    metrics_path: str = "/metrics"
    metrics_token_file: Path | None = None
    notify: tuple[str, ...] = ()
    notify_secret_file: Path | None = None

    @property
    def releases(self) -> Path:
        """Where each release has its directory."""
        return self.root / "releases"

    @property
    def colours(self) -> Path:
        """Where each colour has the link to its release."""
        return self.root / "colours"


def read_host(root: Path) -> Host:
    """Read the file; raises ConfigurationError for what is missing, unknown or of a wrong type."""
    path = Path(os.environ.get("DEPLOY_HOST") or root / FILE)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}. It says where this host has its releases. "
            "Nothing was changed. docs/howto/release-on-a-host.md has one to begin with."
        ) from error
    except ValueError as error:
        raise _invalid(path, str(error)) from error
    known = {field.name: field for field in fields(Host) if field.name != "root"}
    if unknown := sorted(set(given) - set(known)):
        raise _invalid(path, f"unknown: {', '.join(unknown)}. Known are {', '.join(known)}")
    needed = [name for name, field in known.items() if field.default is MISSING]
    if missing := [name for name in needed if name not in given]:
        raise _invalid(path, f"missing: {', '.join(missing)}")
    values = {name: _value(path, name, known[name].type, each) for name, each in given.items()}
    host = Host(root=root, **values)
    _check(path, host)
    return host


def _value(path: Path, name: str, kind: Any, given: Any) -> Any:
    readers: Mapping[Any, tuple[type, Any]] = {
        Path: (str, _path),
        Path | None: (str, _path),
        tuple[Path, ...]: (list, lambda each: tuple(map(_path, each))),
        tuple[str, ...]: (list, tuple),
        Target: (str, _target),
        float: (int | float, float),  # type: ignore[dict-item]  # a union is a type to isinstance
    }
    wanted, read = readers.get(kind, (kind, kind))
    is_wrong = not isinstance(given, wanted) or (wanted is not bool and isinstance(given, bool))
    if is_wrong or (wanted is list and not all(isinstance(each, str) for each in given)):
        raise _invalid(path, f"{name} is {given!r}, and has to be {SPOKEN[wanted]}")
    try:
        return read(given)
    except ValueError as error:
        raise _invalid(path, f"{name}: {error}") from error


def _path(text: str) -> Path:
    if not os.path.isabs(text):
        raise ValueError(f"{text!r} is not an absolute path")
    return Path(text)


def _target(text: str) -> Target:
    if text not in [*Target]:
        raise ValueError(f"{text!r} is none of {', '.join(Target)}")
    return Target(text)


def _check(path: Path, host: Host) -> None:
    if not host.units or not all(COLOUR in unit for unit in host.units):
        raise _invalid(
            path, f"units: each unit is started for one colour, so its name has to contain {COLOUR}"
        )
    if host.keep < 2:
        raise _invalid(
            path, "keep has to be at least 2: without the release before there is no way back"
        )
    if bad := [each for each in (host.health_path, host.metrics_path) if each[:1] != "/"]:
        raise _invalid(path, f"{bad[0]!r} is not a path of the application, such as /health/")
    for name in NOT_NEGATIVE:
        if not 0 <= getattr(host, name) < math.inf:
            raise _invalid(
                path, f"{name} is {getattr(host, name)!r}, and has to be a number, 0 or more"
            )
    if not host.url.startswith(WEB) or not _has_host(host.url):
        raise _invalid(
            path, "url has to be the http or https address of the application behind the proxy"
        )
    names = ("notify", "notify_secret_file")
    if fault := find_fault(names, host.notify, host.notify_secret_file):
        raise _invalid(path, fault)


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", url)
    except ValueError:  # a bracket that is not closed, a port that is none
        return False


def _invalid(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(f"{path} is invalid: {what}. Nothing was changed.")
