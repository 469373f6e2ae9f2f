"""The finding C005."""


def test_c005_a_directory_without_client_programs(findings, settings, tmp_path):
    settings.DEPLOY_OPS_PG_BIN = {16: str(tmp_path)}
    assert "DEPLOY_OPS_PG_BIN[16]" in findings()["C005"].msg
    for program in ("pg_dump", "pg_restore"):
        (tmp_path / program).touch()
    assert findings() == {}
