"""Pages while the database swallows connections: what needs no database does not wait for long."""

from concurrent.futures import ThreadPoolExecutor

from kvb.app.databases import SECONDS_TO_CONNECT
from tests.deploy_ops.health.serving import black_hole
from tests.kvb.production import Production

VISITORS = 8
PAGE_SECONDS = 1.5  # on a busy machine


def test_cold_worker_waits_once_for_its_flags_and_not_once_for_each_visitor(tmp_path):
    with black_hole() as port:
        url = f"postgresql://kvb:geheim@127.0.0.1:{port}/kvb"
        with (
            Production(tmp_path, url, "--workers=1") as server,
            ThreadPoolExecutor(VISITORS) as visitors,
        ):
            answers = list(visitors.map(server.visit, ["/anmelden/"] * VISITORS))
            assert {answer.status for answer in answers} == {200}, server.log()
            took = max(answer.seconds for answer in answers)
            assert took < SECONDS_TO_CONNECT + PAGE_SECONDS
            assert server.log().count("Flags cannot be read from the database") == 1
            assert "geheim" not in server.log()
