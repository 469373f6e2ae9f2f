"""Archives of a server, from which any moment can be had: DEPLOY_OPS_ARCHIVE."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy_ops.backup.archives.base import Archive, Base
from deploy_ops.conf import conf
from deploy_ops.databases.driver import require_psycopg
from deploy_ops.errors import ConfigurationError
from deploy_ops.redact import Secret

__all__ = ["Archive", "Base", "configured_archive", "require_archive"]

SETTING = "DEPLOY_OPS_ARCHIVE"
EXAMPLE = f'    {SETTING} = {{"engine": "basebackup", "directory": "/var/lib/kvb-archive"}}'
KEYS = {"engine": True, "directory": True, "url": False}


def configured_archive() -> Archive | None:
    """Return what DEPLOY_OPS_ARCHIVE says, None if it is not set; raises ConfigurationError."""
    given = conf.archive
    if given is None:
        return None
    if given.get("engine") != "basebackup":
        raise _invalid(f"has the engine {given.get('engine')!r}; there is basebackup")
    _check_keys(given)
    directory = Path(given["directory"])
    if not directory.is_absolute():
        raise _invalid(f"has the relative directory {str(directory)!r}; it wants it from / on")
    require_psycopg()
    from deploy_ops.backup.archives.basebackup import BaseBackups

    return BaseBackups(directory, Secret(given["url"]) if "url" in given else None)


def require_archive() -> Archive:
    """Return the archive that is configured; raises ConfigurationError without one."""
    if (archive := configured_archive()) is None:
        raise ConfigurationError(
            f"{SETTING} is not set, so no moment between backups can be had. Nothing was changed. "
            f"Set it, and archive the write-ahead log there:\n{EXAMPLE}"
        )
    archive.check()
    return archive


def _check_keys(given: Mapping[str, Any]) -> None:
    if unknown := sorted(set(map(str, given)) - set(KEYS)):
        raise _invalid(f"has unknown keys: {', '.join(unknown)}. It knows {', '.join(KEYS)}")
    if missing := [name for name, is_needed in KEYS.items() if is_needed and name not in given]:
        raise _invalid(f"lacks {', '.join(missing)}")
    if wrong := [name for name, value in given.items() if not isinstance(value, str | Path)]:
        raise _invalid(f"wants text for {', '.join(map(str, wrong))}")


def _invalid(fault: str) -> ConfigurationError:
    fact = f"{SETTING} {fault}"
    return ConfigurationError(f"{fact}. Nothing was changed. It looks like:\n{EXAMPLE}", fact=fact)
