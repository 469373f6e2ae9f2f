"""Deploy a Django application so that a release can fail at any point and nothing is lost."""

from deploy_ops.supported import require_python

__version__ = "0.1.0"

require_python()
