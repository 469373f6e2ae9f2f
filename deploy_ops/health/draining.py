"""Whether this instance is about to stop, so that a load balancer should stop sending to it.

Imports no settings at load: gunicorn's master uses it before Django is set up.
"""

import mmap
import os.path

from deploy_ops.conf import conf
from deploy_ops.errors import NoDirectory

# Shared with the workers that are forked later, so that the master can tell all of them at once.
_flag = mmap.mmap(-1, 1)


def start_draining() -> None:
    """Make this process and its children answer "not ready" from now on."""
    _flag[0] = 1


def is_draining() -> bool:
    """Whether the process was told so, or the drain file is there and may be seen."""
    if _flag[0]:
        return True
    try:
        return os.path.exists(conf.drain_file)
    except NoDirectory:  # where there is none, there is no file in it
        return False
