"""The system check of two phases."""

import pytest

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)


@PG15
@pytest.mark.usefixtures("django_alias")
def test_c014_production_without_two_phases(findings, settings):
    settings.DEPLOY_OPS_TWO_PHASE = False
    assert "dropped while it runs" in findings()["C014"].msg
    assert "C014" not in findings(deploy=False)
    settings.DEPLOY_OPS_TWO_PHASE = True
    assert findings() == {}


def test_sqlite_has_no_phases(findings, settings):
    settings.DEPLOY_OPS_TWO_PHASE = False
    assert findings() == {}
