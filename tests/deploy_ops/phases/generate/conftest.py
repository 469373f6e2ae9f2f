"""A project whose models change."""

import pytest

from tests.deploy_ops.phases.generate.stories import Shop
from tests.sample_apps.modelled import ModelledApp


@pytest.fixture
def shop(project, django_alias):
    return _shop(project, django_alias)


@pytest.fixture
def sqlite_shop(sqlite_project):
    """For what is only written, and not run."""
    return _shop(sqlite_project, "")


def _shop(project, alias):
    app = ModelledApp(project.directory)
    project.with_apps(app.name).settings(DEPLOY_OPS_TWO_PHASE=True)
    return Shop(project, app, alias)
