"""deploy/nginx/kvb-admin.conf in a real nginx, before two applications that tell what they were sent."""

import http.client
import json
import os
import re
import ssl
from collections import Counter

import pytest

from deploy_ops.release.host.shares import SHARES
from tests.deploy.site import CONF, NAME, Site, serving
from tests.project.runner import REPOSITORY

# The long form is what the share of a canary is promised with: 6000 clients, 5 % +- 0.85.
CLIENTS = int(os.environ.get("CANARY_CLIENTS", "1500"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serving(Site(tmp_path_factory.mktemp("nginx"))) as made:
        yield made


def test_headers_that_the_application_believes_are_overwritten(site):
    status, headers, text = site.get(
        X_Forwarded_For="1.2.3.4", X_Forwarded_Proto="http", X_Forwarded_Host="evil.example",
        Forwarded="for=1.2.3.4", X_Request_ID="forged",
    )  # fmt: skip
    sent = json.loads(text)["headers"]
    assert status == 200
    assert sent["x-forwarded-for"] == "127.0.0.1"
    assert sent["x-forwarded-proto"] == "https"
    assert sent["host"] == NAME
    assert re.fullmatch("[0-9a-f]{32}", sent["x-request-id"])
    assert "forwarded" not in sent and "x-forwarded-host" not in sent
    assert "nginx/" not in headers["Server"]


def test_tls_of_this_decade_alone(site):
    assert site.protocol() == "TLSv1.3"
    assert site.protocol(maximum_version=ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    old = {"minimum_version": ssl.TLSVersion.TLSv1, "maximum_version": ssl.TLSVersion.TLSv1_1}
    with pytest.warns(DeprecationWarning), pytest.raises(ssl.SSLError):
        site.protocol(**old)


def test_another_name_learns_nothing(site):
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        site.tls("other.example.org")
    with pytest.raises(http.client.RemoteDisconnected):
        site.plain(site.http, host="other.example.org")


def test_plain_http_is_redirected_and_renewals_are_answered(site):
    status, headers, _ = site.plain(site.http, "/reisekosten/?a=1")
    assert status == 301
    assert headers["Location"] == f"https://{NAME}/reisekosten/?a=1"
    (site.directory / "acme/.well-known/acme-challenge").mkdir(parents=True)
    (site.directory / "acme/.well-known/acme-challenge/x").write_text("token")
    assert site.plain(site.http, "/.well-known/acme-challenge/x")[2] == "token"


def test_static_files_are_served_and_nothing_beside_them(site):
    status, headers, text = site.get("/static/style.abc.css")
    assert (status, text) == (200, "a {}")
    assert "immutable" in headers["Cache-Control"]
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert site.get("/static../privkey.pem")[2].startswith("{")  # the application's
    assert site.get("/static/%2e%2e/privkey.pem")[0] in (400, 404) or "PRIVATE" not in (
        site.get("/static/%2e%2e/privkey.pem")[2]
    )


def test_metrics_are_for_nobody_outside(site):
    assert {site.get(path)[0] for path in ("/metrics", "/metrics/", "/metrics?a=1")} == {404}


@pytest.mark.parametrize("colour", ["blue", "green"])
def test_each_colour_is_scraped_by_itself_on_the_host(site, colour):
    """Whichever serves; the token is the application's to judge, so it arrives."""
    token = {"Authorization": "Bearer secret"}
    status, _, text = site.plain(site.local, f"/metrics/{colour}", "localhost", **token)
    told = json.loads(text)
    assert (status, told["colour"], told["path"]) == (200, colour, "/metrics")
    assert told["headers"]["authorization"] == "Bearer secret"
    assert site.plain(site.local, "/metrics", "localhost")[0] == 404
    assert json.loads(site.get(f"/metrics/{colour}")[2])["path"] == f"/metrics/{colour}"


def test_a_colour_that_is_idle_is_down_for_prometheus(site):
    away, log = site.sockets / "away.sock", site.directory / "error.log"
    (site.sockets / "green.sock").rename(away)
    before = log.read_text(encoding="utf-8")
    try:
        assert site.plain(site.local, "/metrics/green", "localhost")[0] == 502
        assert site.plain(site.local, "/metrics/blue", "localhost")[0] == 200
        assert log.read_text(encoding="utf-8") == before
    finally:
        away.rename(site.sockets / "green.sock")


def test_the_address_of_the_guide_answers_on_the_host(site):
    assert site.plain(site.local, "/health/", "localhost")[0] == 200
    assert site.plain(site.local, "/reisekosten/", "localhost")[0] == 404


def test_the_switch_and_the_page_while_nobody_answers(site):
    assert site.colour() == "blue"
    site.point("current", "green.sock")
    assert site.colour() == "green"
    site.point("current", "nowhere.sock")
    status, headers, text = site.get()
    assert status == 502 and "Gleich wieder da" in text and headers["Retry-After"] == "30"
    site.point("current", "blue.sock")
    assert site.get()[0] == 200
    assert site.get("/wartung.html")[0] == 404  # not a page of its own


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_page_while_somebody_wants_it(site, method):
    file = site.sockets / "maintenance"
    file.touch()
    try:
        status, headers, text = site.get("/reisekosten/", method=method)
        assert status == 503 and "Gleich wieder da" in text
        assert headers["Retry-After"] == "30" and headers["Strict-Transport-Security"]
        # Whoever looks after it still sees the application.
        assert site.plain(site.local, "/health/", "localhost")[0] == 200
    finally:
        file.unlink()
    assert site.get("/reisekosten/")[0] == 200


def test_a_canary_gets_its_share_and_always_the_same_visitors(site):
    for share in SHARES:
        if share <= 5:
            site.point(f"canary-{share}", "green.sock")
    site.point("canary", "green.sock")
    try:
        visitors = [os.urandom(16).hex() for _ in range(CLIENTS)]
        got = {each: site.colour(f"canary_id={each}") for each in visitors}
        found = Counter(got.values())["green"] / CLIENTS
        assert abs(found - 0.05) < 3 * (0.05 * 0.95 / CLIENTS) ** 0.5
        assert all(site.colour(f"canary_id={each}") == got[each] for each in visitors[:200])
        assert {site.colour("canary=always") for _ in range(20)} == {"green"}
        assert {site.colour("canary=never") for _ in range(20)} == {"blue"}
        new = site.get()[1]["Set-Cookie"]
        assert re.fullmatch(r"canary_id=[0-9a-f]{32}; .*HttpOnly; Secure; SameSite=Lax", new)
        assert site.get(Cookie=new.partition(";")[0])[1]["Set-Cookie"] is None
        assert site.get(Cookie="canary_id=$(reboot)")[1]["Set-Cookie"] is not None
    finally:
        for name in ("canary", *(f"canary-{share}" for share in SHARES)):
            site.point(name, "current.sock")


def test_every_share_of_the_deployer_has_its_level():
    text = CONF.read_text(encoding="utf-8")
    levels = re.findall(r"^ +(\d+)%  +(\d+);$", text, re.M)
    assert [int(level) for _, level in levels] == list(SHARES)
    assert all(
        sum(int(each) for each, level in levels if int(level) <= share) == share for share in SHARES
    )
    tmpfiles = (REPOSITORY / "deploy/tmpfiles.d/kvb-admin.conf").read_text(encoding="utf-8")
    for share in SHARES:
        assert f"kvb_canary_{share} " in text or f"kvb_canary_{share}  " in text
        assert f"/run/kvb-admin/canary-{share}.sock" in tmpfiles
