from deploy_ops.flags.declaration import Flag
from kvb.app.settings_test import *  # pylint: disable=wildcard-import,unused-wildcard-import

DEPLOY_OPS_FLAGS = {"header": Flag("New header"), "footer": Flag("New footer")}
DEPLOY_OPS_FLAGS_POLL_SECONDS = 0.05
