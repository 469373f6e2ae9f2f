"""The project of the tests, whose newer release declares flags."""

from deploy_ops.flags.declaration import Flag
from tests.project.settings import *  # pylint: disable=wildcard-import,unused-wildcard-import

DEPLOY_OPS_FLAGS = {"export": Flag("Export", default=True), "import_": Flag("Import")}
