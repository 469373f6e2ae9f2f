"""Whether a release serves worse than another."""

import pytest

from deploy_ops.release.host.figures import Figures, parse, worse


def figures(requests, errors=0, slow=0):
    """So many requests of 50 ms, of which `slow` took 2 s."""
    return Figures(requests, errors, ((0.1, requests - slow), (2.5, requests), (9.9, requests)))


@pytest.mark.parametrize(
    ("new", "old", "is_worse"),
    [
        (figures(100), figures(100), False),
        (figures(49, errors=49), figures(100), False),  # too few to tell
        (figures(50, errors=2), figures(100), True),
        (figures(50, errors=1), figures(100), False),  # 2 % is the margin
        (figures(100, errors=11), figures(100, errors=10), False),
        (figures(100, errors=20), figures(100, errors=10), True),
        (figures(100, errors=10), figures(10), True),  # errors need no comparison
        (figures(100, slow=6), figures(100), True),
        (figures(100, slow=5), figures(100), False),
        (figures(100, slow=6), figures(100, slow=6), False),
        (figures(100, slow=100), figures(10), False),  # nothing to compare with
    ],
)
def test_which_is_worse(new, old, is_worse):
    assert (worse(new, old) is not None) is is_worse


def test_what_came_between_two_moments():
    assert figures(150, 3, 2).since(figures(100, 1)) == figures(50, 2, 2)


def test_the_page_of_metrics():
    found = parse("""
# TYPE django_http_responses_total_by_status_total counter
django_http_responses_total_by_status_total{status="200"} 7.0
django_http_responses_total_by_status_total{status="503"} 2.0
# TYPE django_http_requests_latency_including_middlewares_seconds histogram
django_http_requests_latency_including_middlewares_seconds_bucket{le="0.1"} 8.0
django_http_requests_latency_including_middlewares_seconds_bucket{le="+Inf"} 9.0
""")
    assert found == Figures(9, 2, ((0.1, 8), (float("inf"), 9)))


def test_what_is_no_histogram():
    name = "django_http_requests_latency_including_middlewares_seconds"
    text = f'# TYPE {name} histogram\n{name}_bucket{{le="1"}} 8\n{name}_bucket{{le="+Inf"}} 7\n'
    with pytest.raises(ValueError, match="fewer"):
        parse(text)
