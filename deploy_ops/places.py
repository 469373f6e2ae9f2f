"""The two directories that are written to: made when first needed, refused where they do not fit.

Whoever only reads asks `conf` for the path, so that looking makes nothing.
"""

import os
import shlex
from pathlib import Path

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError, NoDirectory
from deploy_ops.files import private_directory, write_atomically

STATE, BACKUPS = "DEPLOY_OPS_STATE_DIR", "DEPLOY_OPS_BACKUP_DIR"
# What pip installs into, and removes when it installs something newer.
OF_PACKAGES = frozenset({"site-packages", "dist-packages"})
IGNORED = b"*\n"


def state_directory(*below: str) -> Path:
    """Return DEPLOY_OPS_STATE_DIR, or a directory in it, made 0700 where it is not there.

    Raises NoDirectory where it is not known or among installed packages, and ConfigurationError
    where it cannot be used; both name the setting.
    """
    directory = _made(conf.state_dir, STATE)
    for name in below:
        directory = private_directory(directory / name)
    return directory


def backup_directory() -> Path:
    """Return DEPLOY_OPS_BACKUP_DIR; made, and raises, as `state_directory`."""
    path = conf.backup_dir
    if path.is_relative_to(conf.state_dir):
        state_directory()
    return _made(path, _setting_of(path))


def private_place(path: Path) -> Path:
    """Return one of the two that is there, wherever it is; raises ConfigurationError."""
    return _private(path, _setting_of(path))


def check_place(path: Path) -> None:
    """Raise what writing to one of the two would raise; nothing is made."""
    setting = _setting_of(path)
    _refuse_packages(path, setting)
    if os.path.lexists(path):
        _private(path, setting)
        return
    parent = next(each for each in path.parents if each.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"Directory {path} is not there, and this user may not make it in {parent}. Nothing "
            f"was changed. As root:\n    install -d -m 700 -o {os.geteuid()} "
            f"{shlex.quote(str(path))}\n{_elsewhere(setting)}"
        )


def _made(path: Path, setting: str) -> Path:
    """A new one is ignored by git: where BASE_DIR is a checkout it would be committed some day."""
    _refuse_packages(path, setting)
    is_new = not os.path.lexists(path)
    directory = _private(path, setting)
    if is_new:
        try:
            write_atomically(directory / ".gitignore", IGNORED)
        except OSError as error:
            raise ConfigurationError(
                f"Directory {path} cannot be written: {error.strerror}. Nothing was changed.\n"
                + _elsewhere(setting)
            ) from error
    return directory


def _refuse_packages(path: Path, setting: str) -> None:
    if not OF_PACKAGES.isdisjoint(path.resolve().parts):
        fact = f"{path} lies among installed packages, which the next installation may remove"
        raise NoDirectory(
            f"{fact}. Nothing was changed. Name a directory that stays:\n    {_example(setting)}",
            fact=fact,
        )


def _private(path: Path, setting: str) -> Path:
    try:
        return private_directory(path)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}\n{_elsewhere(setting)}") from error


def _setting_of(path: Path) -> str:
    """Which setting moves a directory: backups lie in the state directory by default."""
    return STATE if path.is_relative_to(conf.state_dir) else BACKUPS


def _elsewhere(setting: str) -> str:
    return f"Or write to another directory:\n    {_example(setting)}"


def _example(setting: str) -> str:
    name = "deploy_ops" if setting == STATE else "backups"
    return f'{setting} = "/var/lib/{name}"'
