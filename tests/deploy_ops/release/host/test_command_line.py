"""Words of deploy.sh that do not go together are refused before anything is read or done."""

import sys

import pytest

from deploy_ops.release.host.__main__ import main


@pytest.fixture
def refused(monkeypatch, tmp_path, capsys):
    """Runs deploy.sh where there is no host: whoever reads its file exits with 1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEPLOY_HOST", raising=False)

    def run(words):
        monkeypatch.setattr(sys, "argv", ["deploy.sh", *words.split()])
        with pytest.raises(SystemExit) as exited:
            main()
        assert exited.value.code == 2
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--rollback v1.2.1", "--rollback takes no tag: --rollback --to v1.2.1"),
        ("v1.2.1 --promote", "--promote takes no tag"),
        ("--abort v1.2.1", "--abort takes no tag"),
        ("--contract v1.2.1", "--contract takes no tag"),
        ("--share 10 v1.2.1", "--share takes no tag"),
        ("--status v1.2.1", "--status takes no tag"),
        ("--watch v1.2.1", "--watch takes no tag"),
        ("--to v1.2.1", "--to goes with --rollback"),
        ("v1.2.3 --to v1.2.1", "--to goes with --rollback"),
        ("--canary 5 --to v1.2.1", "--to goes with --rollback"),
        ("--target dev v1.2.3", "--target dev is make restart-dev"),
        ("--target dev --rollback", "--target dev is make restart-dev"),
        ("--target dev --canary 5", "--target dev is make restart-dev"),
        ("--rollback --promote", "not allowed with"),
        ("v1.2.3 v1.2.4", "unrecognized arguments: v1.2.4"),
        ("--canary 7 v1.2.3", "invalid choice: 7"),
        ("--wait nan v1.2.3", "'nan' is not a number of seconds"),
        ("--wait inf v1.2.3", "'inf' is not a number of seconds"),
        ("--wait=-1 v1.2.3", "'-1' is not a number of seconds"),
        ("--wait 5m v1.2.3", "'5m' is not a number of seconds"),
    ],
)
def test_what_does_not_go_together(refused, words, said):
    assert said in refused(words)
