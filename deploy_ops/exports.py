"""How packages export their public names: each is imported when it is first asked for (PEP 562).

Settings import `deploy_ops.flags` before Django is set up, when no model can be loaded yet; and who
imports one module of a package does not pay for the others. Type checkers and readers see import
statements below `if TYPE_CHECKING`; a test compares them with the table that is used here.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def import_when_asked(package: str, names: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that exports these names of its modules."""
    modules = {name: module for module, exported in names.items() for name in exported}

    def import_name(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, found)  # from now on an attribute like any other
        return found

    return import_name
