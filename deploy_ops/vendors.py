"""What differs by kind of database: chosen by the vendor of the alias, imported when used."""

from collections.abc import Mapping
from typing import Any

from django.db import connections
from django.utils.module_loading import import_string

from deploy_ops.errors import ConfigurationError


def make_for(alias: str, classes: Mapping[str, str]) -> Any:
    """Call the class that `classes` (dotted paths by vendor) has for the alias, with the alias.

    Raises ConfigurationError for a vendor that is not among them.
    """
    vendor = connections[alias].vendor
    if vendor not in classes:
        raise ConfigurationError(
            f"Database '{alias}' is {vendor}; deploy_ops knows {' and '.join(classes)}. "
            "Nothing was changed."
        )
    return import_string(classes[vendor])(alias)
