"""Deploy a Django application so that a release can fail at any point and nothing is lost."""

__version__ = "0.1.0"
