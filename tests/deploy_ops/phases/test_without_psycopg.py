"""The vocabulary loads where PostgreSQL's driver is not installed: migrations run on SQLite too."""

import subprocess
import sys

from tests.docs.console import ROOT

LOAD = """
import sys
from importlib import import_module
from pkgutil import iter_modules
sys.modules["psycopg"] = None
import django
django.setup()
import deploy_ops.phases
for name in deploy_ops.phases.__all__:
    getattr(deploy_ops.phases, name)
import deploy_ops.management.backfills, deploy_ops.management.contracts, deploy_ops.management.lint
import deploy_ops.management.commands as commands
for each in iter_modules(commands.__path__):
    import_module(f"{commands.__name__}.{each.name}")
"""


def test_every_name_and_every_command_can_be_imported():
    env = {"DJANGO_SETTINGS_MODULE": "kvb.app.settings_dev", "PATH": "/usr/bin:/bin"}
    argv = [sys.executable, "-W", "error", "-c", LOAD]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
