from pathlib import Path

import pytest

from tests.again import pass_on

HERE = Path(__file__).resolve()
# They start processes with PostgreSQL by themselves.
ALIKE = ("test_processes.py", "test_concurrency.py")


@pytest.mark.timeout(600)
def test_all_the_tests_beside_this_one_pass_on_postgresql(postgresql_database):
    pass_on(postgresql_database.url, HERE.parent, HERE.name, *ALIKE)
