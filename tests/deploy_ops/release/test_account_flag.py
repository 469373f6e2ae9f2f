"""A flag for the account of a smoke test: others see no difference, and it ends as it was."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from deploy_ops.errors import SmokeTestFailed
from deploy_ops.flags import Rules, Source, change_flag, flag_enabled, stored_rules
from deploy_ops.flags.declaration import Flag
from deploy_ops.flags.testing import forget_flags
from deploy_ops.lock_file import LockFile
from deploy_ops.models import FlagChange
from deploy_ops.redact import Secret
from deploy_ops.release import Account, account_flag, flag_on_for, temporary_account

NOBODY_YET = Rules(starts_at=datetime(2100, 1, 1, tzinfo=UTC), percentage=Decimal(50))


@pytest.fixture(autouse=True)
def _at_once(settings, monkeypatch, tmp_path):
    settings.DEPLOY_OPS_FLAGS = {"export": Flag("Export"), "menu": Flag("Menu", default=True)}
    settings.DEPLOY_OPS_FLAGS_POLL_SECONDS = 0
    settings.DEPLOY_OPS_STATE_DIR = tmp_path
    monkeypatch.setattr(account_flag, "MARGIN_SECONDS", 0)
    tmp_path.chmod(0o700)
    forget_flags()
    yield
    forget_flags()


@pytest.fixture
def account(db):
    user = User.objects.create_user("deploy-ops-smoke-1")
    return Account(user, user.username, Secret("x"))


@pytest.fixture
def anna(db):
    return User.objects.create_user("anna", is_staff=True)


def give(rules, by="anna", name="export"):
    change_flag(name, rules, expected_revision=stored_rules(name)[1], by=by, source=Source.CLI)


def is_on(user):
    """As every process finds after its next poll."""
    forget_flags()
    return flag_enabled("export", user=user)


@pytest.mark.parametrize(
    "rules",
    [
        None,
        Rules(staff=True),
        Rules(users=frozenset({"0"})),
        Rules(everyone=False, percentage=Decimal(100), staff=True),
        NOBODY_YET,
    ],
    ids=["as declared", "staff", "users", "off", "not yet"],
)
def test_it_is_on_for_the_account_alone_and_ends_as_it_was(account, anna, rules):
    give(rules)
    before = [is_on(each) for each in (anna, None)]
    assert not is_on(account.user)
    with flag_on_for(account, "export"):
        assert is_on(account.user)
        assert [is_on(each) for each in (anna, None)] == before
    assert stored_rules("export")[0] == rules
    assert not is_on(account.user)


def test_it_ends_as_it_was_after_a_failure(account):
    give(Rules(staff=True))
    with pytest.raises(ZeroDivisionError), flag_on_for(account, "export"):
        1 / 0  # pylint: disable=pointless-statement
    assert stored_rules("export")[0] == Rules(staff=True)


def test_the_history_has_who_and_why(account):
    with flag_on_for(account, "export"):
        pass
    last, first = FlagChange.objects.filter(flag="export")
    assert (first.by, first.reason) == (account.name, "smoke test: its account alone")
    assert (last.by, last.reason, last.new) == (account.name, "smoke test: as it was", None)


def test_what_somebody_changes_meanwhile_stays(account):
    with flag_on_for(account, "export"):
        rules, _ = stored_rules("export")
        give(rules.switched(True))
    assert stored_rules("export")[0] == Rules(everyone=True)
    give(None)
    with flag_on_for(account, "export"):
        give(Rules(staff=True))
    assert stored_rules("export")[0] == Rules(staff=True)


def test_nobody_is_switched_off_for_it(account):
    with flag_on_for(account, "menu"):
        assert flag_enabled("menu", user=account.user)
    assert not FlagChange.objects.exists()


def test_the_environment_decides(account, monkeypatch):
    monkeypatch.setenv("ENABLE_EXPORT", "0")
    forget_flags()
    with pytest.raises(SmokeTestFailed, match="the environment has the flag export off"):
        with flag_on_for(account, "export"):
            pass
    assert not FlagChange.objects.exists()


def test_a_killed_one_is_put_back_by_the_next_and_one_at_work_is_not(anna, tmp_path):
    """Both have made an account and switched; one still holds the lock of its name."""
    give(Rules(staff=True))
    (tmp_path / "smoke").mkdir(mode=0o700)
    users = {}
    for name in ("deploy-ops-smoke-killed", "deploy-ops-smoke-at-work"):
        users[name] = User.objects.create_user(name)
        (tmp_path / "smoke" / name).touch(0o600)
        rules, _ = stored_rules("export")
        both = rules.users | {str(users[name].pk)}
        give(Rules(staff=True, users=both), by=name)
    at_work = str(users["deploy-ops-smoke-at-work"].pk)
    with LockFile(tmp_path / "smoke" / "deploy-ops-smoke-at-work", "smoke_test").held():
        with temporary_account(forget=lambda user: None) as account:
            names = {*User.objects.values_list("username", flat=True)}
            assert names == {"anna", "deploy-ops-smoke-at-work", account.name}
            assert stored_rules("export")[0] == Rules(staff=True, users=frozenset({at_work}))
    assert [path.name for path in (tmp_path / "smoke").iterdir()] == ["deploy-ops-smoke-at-work"]
