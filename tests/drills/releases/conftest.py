"""The host of each drill."""

import pytest

from tests.drills.releases.host import release_host


@pytest.fixture
def host(pg15, tmp_path):
    """A host behind nginx, with one release that is tagged."""
    with release_host(tmp_path, pg15.url) as made:
        yield made


@pytest.fixture
def deployed(host):
    """The same, with the first release deployed."""
    host.deploy("v1.0.0")
    return host
