import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve()


def test_all_the_tests_beside_this_one_pass_on_postgresql(postgresql_database):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE.parent)]
    ignored = [HERE.name, "test_processes.py", "test_concurrency.py"]
    result = subprocess.run(
        [*command, *(f"--ignore={HERE.parent / name}" for name in ignored)],
        cwd=HERE.parents[3],
        env=os.environ | {"DATABASE_URL": postgresql_database.url},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert "SKIPPED" not in result.stdout
