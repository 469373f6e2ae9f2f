"""The host of each drill."""

import pytest

from tests.conftest import scratch_database
from tests.drills.releases.host import release_host


@pytest.fixture
def host(pg15, tmp_path):
    """A host behind nginx, with one release that is tagged."""
    with release_host(tmp_path, pg15.url) as made:
        yield made


@pytest.fixture(scope="module")
def shared_host(pg15_cluster, tmp_path_factory):
    """One on which a release is deployed, for tests that go on from whatever serves."""
    for database in scratch_database(pg15_cluster):
        with release_host(tmp_path_factory.mktemp("host"), database.url) as made:
            made.deploy("v1.0.0")
            yield made


@pytest.fixture
def deployed(shared_host):
    """The shared one, with its first settings."""
    shared_host.configure()
    yield shared_host
    shared_host.end_started()
