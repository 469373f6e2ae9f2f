"""The fixture `flags` for pytest: `def test_export(flags): flags(csv_export=True)`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest


@pytest.fixture
def flags() -> Iterator[Callable[..., None]]:
    """Forces flags until the end of the test: `flags(csv_export=True, other=False)`."""
    # Loaded before the settings are; what is below may only be imported with them.
    # pylint: disable-next=import-outside-toplevel
    from deploy_ops.flags.testing import override_flag

    with ExitStack() as forced:

        def force(**states: bool) -> None:
            for name, enabled in states.items():
                forced.enter_context(override_flag(name, enabled))

        yield force
