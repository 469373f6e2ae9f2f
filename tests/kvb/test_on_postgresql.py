import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve()


def test_all_the_tests_beside_this_one_pass_on_postgresql(postgresql_database):
    """The run around this one has SQLite below the application; deployed it runs on PostgreSQL."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE.parent)]
    result = subprocess.run(
        [*command, f"--ignore={HERE}", f"--ignore={HERE.parent / 'test_settings_prod.py'}"],
        cwd=HERE.parents[2],
        env=os.environ | {"DATABASE_URL": postgresql_database.url},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
