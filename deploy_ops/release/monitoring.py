"""What an instance tells to monitoring: whether it does, and whether it serves worse than before.

`predeploy` keeps what the release that serves has counted, `postdeploy` compares the next one with
it: `metrics-before.json` in the state directory.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from django.core.checks import INFO, WARNING, CheckMessage, Info
from django.core.checks import Warning as Caution

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError, SmokeTestFailed
from deploy_ops.files import read_object, read_private, write_atomically
from deploy_ops.metrics_token import read_token
from deploy_ops.places import state_directory
from deploy_ops.release.client import Client
from deploy_ops.release.host.figures import LATENCY, LEAST_REQUESTS, STATUS, Figures, parse, worse

BEFORE = "metrics-before.json"
SOURCES = "deploy_ops_metrics_source_up"
# What alerts, the watch of a release and this comparison are made of.
RELIED_ON = (LATENCY, STATUS, "deploy_ops_build_info", "deploy_ops_health_check_up", SOURCES)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of /metrics: what it has, which sources it could not read, what was counted."""

    version: str
    missing: Sequence[str]
    unread: Sequence[str]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Before:
    """What a release had counted at a moment, UTC in ISO 8601."""

    version: str
    at: str
    figures: Figures


def read_page(url: str) -> Page:
    """Read the metrics of an instance, with the token of the settings.

    Raises SmokeTestFailed for no answer, or another than metrics; ConfigurationError.
    """
    parts, token = urlsplit(url), read_token()
    headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
    client = Client(f"{parts.scheme}://{parts.netloc}")
    text = client.get(parts.path or conf.metrics_path, headers=headers).text
    try:
        return _read(text)
    except (ValueError, KeyError) as error:
        raise SmokeTestFailed(f"{url} does not answer with metrics: {error}") from error


def _read(text: str) -> Page:
    try:
        # An optional package (the extra `metrics`), and slow to load.
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError as error:
        raise ConfigurationError(
            "Metrics are read with prometheus-client, which is not installed here. Nothing was "
            "changed. Install it:\n    pip install 'deploy-ops[metrics]'"
        ) from error
    families = {each.name: each.samples for each in text_string_to_metric_families(text)}
    figures = parse(text)
    # Nobody has been answered yet, so there is no status to count.
    relied_on = [name for name in RELIED_ON if name != STATUS or figures.is_used]
    builds = [each.labels["version"] for each in families.get("deploy_ops_build_info", ())]
    return Page(
        version=builds[0] if builds else "unknown",
        missing=[name for name in relied_on if name not in families],
        unread=[each.labels["source"] for each in families.get(SOURCES, ()) if not each.value],
        figures=figures,
    )


def look_at_metrics(url: str | None) -> tuple[Page | None, list[CheckMessage]]:
    """The page, if there is one, and what is wrong with it (R017)."""
    if url is None:
        finding = Info(
            "Nobody has looked at the metrics, so whether monitoring would see a failure is not "
            "known.",
            hint="Name where the instance that serves has them: --metrics URL",
            id="deploy_ops.R017",
        )
        return None, [finding]
    try:
        page = read_page(url)
    except (SmokeTestFailed, ConfigurationError) as error:
        return None, [_blind(f"The metrics of {url} cannot be read: {error}")]
    return page, [*_gaps(url, page)]


def _gaps(url: str, page: Page) -> Iterator[CheckMessage]:
    if page.missing:
        yield _blind(f"{url} lacks metrics that alerts rely on: {', '.join(page.missing)}.")
    if page.unread:
        yield _blind(f"{url} could not read the metrics of: {', '.join(page.unread)}.")


def _blind(message: str) -> CheckMessage:
    return Caution(
        message,
        hint="Let this host in with DEPLOY_OPS_METRICS_TOKEN_FILE, and see that the middleware of "
        "deploy_ops and django-prometheus is there (docs/howto/metrics-and-logs.md).",
        id="deploy_ops.R017",
    )


def keep_figures(page: Page) -> None:
    """Note what the release before has counted; raises OSError, ConfigurationError."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = json.dumps(asdict(Before(page.version, now, page.figures))).encode()
    write_atomically(state_directory() / BEFORE, content)


def figures_before() -> Before | None:
    """What `keep_figures` has noted last, None if nothing that can be read."""
    try:
        found = read_object(read_private(conf.state_dir / BEFORE)) or {}
        given = found["figures"]
        buckets = tuple((float(bound), float(count)) for bound, count in given["buckets"])
        figures = Figures(float(given["requests"]), float(given["errors"]), buckets)
        return Before(str(found["version"]), str(found["at"]), figures)
    except (OSError, KeyError, TypeError, ValueError):
        return None


def compare(page: Page, before: Before | None) -> CheckMessage:
    """Say how a release serves beside the one before (R019)."""
    now = page.figures
    if before is None:
        return _compared(INFO, f"{_spoken(now)}. There is nothing from before to compare with.")
    since = f"{before.version} had until {before.at}: {_spoken(before.figures)}"
    if reason := worse(now, before.figures):
        return _compared(WARNING, f"It serves worse than before: {reason}. {since}.")
    too_few = "" if now.requests >= LEAST_REQUESTS else ", too few to compare"
    return _compared(INFO, f"{_spoken(now)}{too_few}. {since}.")


def _compared(level: int, message: str) -> CheckMessage:
    hint = "Decide whether to go back:\n    ./deploy.sh --rollback" if level == WARNING else None
    return CheckMessage(level, message, hint=hint, id="deploy_ops.R019")


def _spoken(figures: Figures) -> str:
    return (
        f"{figures.requests:.0f} requests, {figures.error_share:.1%} of them errors, "
        f"95 of 100 within {figures.p95:g} s"
    )
