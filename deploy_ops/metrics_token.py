"""The token that may read /metrics: for the page, and for commands that ask it."""

import os
import stat

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError
from deploy_ops.redact import Secret

LEAST_CHARACTERS = 32


def read_token() -> Secret | None:
    """Read DEPLOY_OPS_METRICS_TOKEN_FILE, None if not set; raises ConfigurationError."""
    path = conf.metrics_token_file
    if path is None:
        return None
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            token = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"DEPLOY_OPS_METRICS_TOKEN_FILE {path} cannot be read: {type(error).__name__}. "
            "Give the user that serves the application a file with one line of ASCII text."
        ) from None
    if mode & 0o077:
        raise ConfigurationError(
            f"DEPLOY_OPS_METRICS_TOKEN_FILE {path} is open to other users (mode {mode:04o}). "
            f"Close it:\n    chmod 600 {path}"
        )
    if len(token) < LEAST_CHARACTERS:
        raise ConfigurationError(
            f"DEPLOY_OPS_METRICS_TOKEN_FILE {path} has fewer than {LEAST_CHARACTERS} characters. "
            f"Make a new one:\n    (umask 077; openssl rand -hex 32 > {path})"
        )
    return Secret(token)
