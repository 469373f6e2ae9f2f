"""System checks of backups: where they are written, with which keys, and where copies go."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register

from deploy_ops.backup.archives import configured_archive
from deploy_ops.backup.authenticity import host_keys
from deploy_ops.backup.storage import ALIAS
from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError, NoDirectory
from deploy_ops.places import check_place

PUBLIC_ROOTS = ("MEDIA_ROOT", "STATIC_ROOT")
FILE_SYSTEM = "django.core.files.storage.FileSystemStorage"
S3 = ("storages.backends.s3.", "storages.backends.s3boto3.")


@register("deploy_ops")
def check_backup_place(**_options: Any) -> list[CheckMessage]:
    """C002: backups below a directory whose files the web server hands out."""
    try:
        place = conf.backup_dir.resolve()
    except ConfigurationError:
        return []  # C003 or C018 tells it
    return [
        Error(
            f"Backups are written to {place}, below {name}: anybody could fetch them.",
            hint="Set DEPLOY_OPS_BACKUP_DIR to a directory that no web server serves.",
            id="deploy_ops.C002",
        )
        for name in PUBLIC_ROOTS
        if (root := getattr(settings, name, None)) and place.is_relative_to(Path(root).resolve())
    ]


@register("deploy_ops", deploy=True)
def check_directories(**_options: Any) -> list[CheckMessage]:
    """C018: nothing says where to write, or it is no place for it. D006: it cannot be used."""
    try:
        places = dict.fromkeys((conf.state_dir, conf.backup_dir))
    except NoDirectory as error:
        return [Error(str(error), id="deploy_ops.C018")]
    except ConfigurationError:
        return []  # C003 tells it
    found: list[CheckMessage] = []
    for place in places:
        try:
            check_place(place)
        except NoDirectory as error:
            return [Error(str(error), id="deploy_ops.C018")]
        except ConfigurationError as error:
            found.append(Error(str(error), id="deploy_ops.D006"))
    return found


@register("deploy_ops", deploy=True)
def check_key_file(**_options: Any) -> list[CheckMessage]:
    """C004: a key file that cannot be used, found now and not at night."""
    try:
        host_keys()
    except ConfigurationError as error:
        return [Error(str(error), id="deploy_ops.C004")]
    return []


@register("deploy_ops", deploy=True)
def check_archive(**_options: Any) -> list[CheckMessage]:
    """C033: an archive that cannot be used as it is configured."""
    try:
        if archive := configured_archive():
            archive.check()
    except ConfigurationError as error:
        return [Error(str(error), id="deploy_ops.C033")]
    return []


@register("deploy_ops", deploy=True)
def check_storage(**_options: Any) -> list[CheckMessage]:
    """C006: a storage for backups that lets others read them. C007: one that fills the memory."""
    given = settings.STORAGES.get(ALIAS)
    if given is None:
        return []
    backend, options = str(given.get("BACKEND", "")), given.get("OPTIONS", {})
    if backend == FILE_SYSTEM and options.get("file_permissions_mode", 0o644) & 0o077:
        return [
            checks.Warning(
                f'STORAGES["{ALIAS}"] writes backups that other users of the host can read.',
                hint='Set "OPTIONS": {"file_permissions_mode": 0o600} there.',
                id="deploy_ops.C006",
            )
        ]
    if backend.startswith(S3) and not options.get("max_memory_size"):
        return [
            checks.Warning(
                f'STORAGES["{ALIAS}"] reads whole files into memory when copies are compared.',
                hint='Set "OPTIONS": {"max_memory_size": 16 * 1024 * 1024} there.',
                id="deploy_ops.C007",
            )
        ]
    return []
