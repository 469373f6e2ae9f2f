"""Whether one release serves worse than another, by what they count themselves (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

LEAST_REQUESTS = 50
MORE_ERRORS = 0.02
TIMES_SLOWER = 1.5
SECONDS_SLOWER = 0.1
STATUS = "django_http_responses_total_by_status"
LATENCY = "django_http_requests_latency_including_middlewares_seconds"


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests, those that ended in a 5xx, and the histogram of times: (upper bound, so many)."""

    requests: float = 0
    errors: float = 0
    buckets: tuple[tuple[float, float], ...] = ()

    def since(self, earlier: "Figures") -> "Figures":
        """What came between two moments of the same process."""
        before = dict(earlier.buckets)
        return Figures(
            self.requests - earlier.requests,
            self.errors - earlier.errors,
            tuple((bound, count - before.get(bound, 0)) for bound, count in self.buckets),
        )

    @property
    def is_used(self) -> bool:
        """Whether any request has been answered."""
        return bool(self.buckets and self.buckets[-1][1])

    @property
    def error_share(self) -> float:
        """Of all answers, from 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def p95(self) -> float:
        """Seconds within which 95 of 100 requests ended: the upper bound of their bucket."""
        total = self.buckets[-1][1] if self.buckets else 0
        return next((bound for bound, count in self.buckets if count >= 0.95 * total), 0.0)


def worse(new: Figures, old: Figures) -> str | None:
    """Say in which way the new release serves worse; None if not, or too little is known."""
    if new.requests < LEAST_REQUESTS:
        return None
    if new.error_share > old.error_share + MORE_ERRORS:
        return (
            f"{new.error_share:.1%} of {new.requests:.0f} answers are errors of the server, "
            f"{old.error_share:.1%} before"
        )
    if old.requests < LEAST_REQUESTS:
        return None
    if new.p95 > max(old.p95 * TIMES_SLOWER, old.p95 + SECONDS_SLOWER):
        return f"95 of 100 requests end within {new.p95:g} s, within {old.p95:g} s before"
    return None


def parse(text: str) -> Figures:
    """Read the page of metrics of one instance; raises ValueError for what is none."""
    # Imported here: only who watches needs it.
    from prometheus_client.parser import text_string_to_metric_families

    requests = errors = 0.0
    buckets: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if family.name == STATUS and sample.name.endswith("_total"):
                requests += sample.value
                errors += sample.value if sample.labels.get("status", "").startswith("5") else 0
            elif family.name == LATENCY and sample.name.endswith("_bucket"):
                bound = float(sample.labels["le"])
                buckets[bound] = buckets.get(bound, 0) + sample.value
    return Figures(requests, errors, _cumulative(sorted(buckets.items())))


def _cumulative(buckets: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    found = tuple(buckets)
    if any(low[1] > high[1] for low, high in pairwise(found)):
        raise ValueError("a histogram that counts fewer requests for a longer time")
    return found
