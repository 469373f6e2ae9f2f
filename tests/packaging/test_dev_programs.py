import shutil
import subprocess
from pathlib import Path

DEV_PROGRAMS = Path(__file__).resolve().parents[2] / "scripts" / "dev_programs"


def run_with(*programs: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """dev_programs on a machine that has only these programs (and what lies in /usr/sbin)."""
    for name in ("bash", *programs):
        (directory / name).symlink_to(shutil.which(name) or "/bin/true")
    return subprocess.run(
        [DEV_PROGRAMS],
        env={"PATH": str(directory)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_nothing_is_installed_where_every_program_is_there(tmp_path):
    programs = (
        "chromium",
        "chromedriver",
        "pgbouncer",
        "promtool",
        "haproxy",
        "nginx",
        "ssh-agent",
        "prometheus-blackbox-exporter",
    )
    result = run_with(*programs, directory=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_without_apt_it_says_loudly_what_is_missing_and_lets_the_tests_go_on(tmp_path):
    here = ("chromedriver", "pgbouncer", "haproxy", "nginx", "ssh-agent")
    here += ("prometheus-blackbox-exporter",)
    result = run_with(*here, directory=tmp_path)
    assert result.returncode == 0
    assert "*** Not here: chromium promtool. There is no apt-get on this machine." in result.stderr
    assert "To run them: apt-get install chromium prometheus" in result.stderr
