from pathlib import Path

import pytest

from tests.again import pass_on

HERE = Path(__file__).resolve()
# They start servers with PostgreSQL by themselves, or no database at all.
ALIKE = ("test_settings_prod.py", "test_logging.py", "test_served_*.py", "test_smoke.py")


@pytest.mark.timeout(600)
def test_all_the_tests_beside_this_one_pass_on_postgresql(postgresql_database):
    """The run around this one has SQLite below the application; deployed it runs on PostgreSQL."""
    pass_on(postgresql_database.url, HERE.parent, HERE.name, *ALIKE)
