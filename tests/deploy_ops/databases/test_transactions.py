"""What PostgreSQL says about a transaction of ours afterwards; a crash: tests/drills."""

import pytest
from django.db import connections, transaction

from deploy_ops.databases import database_for
from deploy_ops.databases.base import Outcome

FAR = 1_000_000

pytestmark = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)


def begun(alias: str, *, fails: bool) -> str:
    with transaction.atomic(alias):
        number = database_for(alias).transactions.begin()
        transaction.set_rollback(fails, alias)
    return number


@pytest.mark.parametrize("fails, outcome", [(False, Outcome.COMMITTED), (True, Outcome.ABORTED)])
def test_it_is_asked_for_by_its_number(django_alias, fails, outcome):
    transactions = database_for(django_alias).transactions
    number = begun(django_alias, fails=fails)
    assert transactions.outcome(number) is outcome
    assert bool(transactions.abort_evidence(number, outcome)) is fails


def test_a_number_that_is_not_given_out_yet_has_committed_nothing(django_alias):
    transactions = database_for(django_alias).transactions
    cluster, xid = begun(django_alias, fails=True).split("/")
    lost = f"{cluster}/{int(xid) + FAR}"
    assert transactions.outcome(lost) is Outcome.LOST
    assert "lost its transaction" in transactions.abort_evidence(lost, Outcome.LOST)


def test_another_cluster_cannot_tell(django_alias):
    """Behind one name there may be another server by now, which counts for itself."""
    transactions = database_for(django_alias).transactions
    xid = begun(django_alias, fails=True).split("/")[1]
    for number in (f"1/{xid}", f"1/{int(xid) + FAR}", str(int(xid) + FAR)):
        assert transactions.outcome(number) is Outcome.UNKNOWN
    assert transactions.abort_evidence(f"1/{xid}", Outcome.UNKNOWN) is None


def test_a_journal_of_an_older_version_names_the_number_alone(django_alias):
    transactions = database_for(django_alias).transactions
    assert transactions.outcome(begun(django_alias, fails=True).split("/")[1]) is Outcome.ABORTED
    assert not connections[django_alias].in_atomic_block
