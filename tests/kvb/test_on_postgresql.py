import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve()
# They start servers with PostgreSQL by themselves, or no database at all.
ALIKE = ("test_settings_prod.py", "test_logging.py", "test_prometheus_files.py", "test_served_*.py")


def test_all_the_tests_beside_this_one_pass_on_postgresql(postgresql_database):
    """The run around this one has SQLite below the application; deployed it runs on PostgreSQL."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE.parent)]
    ignored = [f"--ignore-glob={HERE.parent / name}" for name in (HERE.name, *ALIKE)]
    result = subprocess.run(
        [*command, *ignored],
        cwd=HERE.parents[2],
        env=os.environ | {"DATABASE_URL": postgresql_database.url},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
