"""System checks of what databases need; nothing is asked of a database."""

from pathlib import Path
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.db import connections

from deploy_ops.conf import conf
from deploy_ops.databases.driver import require_psycopg
from deploy_ops.errors import ConfigurationError, VersionRefused


@register("deploy_ops", deploy=True)
def check_programs(**_options: Any) -> list[CheckMessage]:
    """C005: DEPLOY_OPS_PG_BIN names a directory without pg_dump and pg_restore.

    Which major the server has only a connection can tell; `backup` checks that.
    """
    try:
        directories = conf.pg_bin.items()
    except ConfigurationError:
        return []  # C003 tells it
    return [
        checks.Warning(
            f"DEPLOY_OPS_PG_BIN[{major}] is {directory}, and {program} is not there.",
            hint=f"Name the directory of PostgreSQL {major}'s client programs.",
            id="deploy_ops.C005",
        )
        for major, directory in directories
        for program in ("pg_dump", "pg_restore")
        if not Path(directory, program).is_file()
    ]


@register("deploy_ops")
def check_driver(**_options: Any) -> list[CheckMessage]:
    """C030: PostgreSQL without psycopg 3, which every command would refuse."""
    if not any(each.vendor == "postgresql" for each in connections.all()):
        return []
    try:
        require_psycopg()
    except VersionRefused as error:
        return [Error(str(error), id="deploy_ops.C030")]
    return []
