"""Random runs of a test in chunks, each by a seed of its own, which is in the id of the test.

RANDOM_SEED is where the seeds begin (0), RANDOM_SHRINK=1 makes a failure small; hypothesis prints
what was drawn, and a blob that repeats it.
"""

import os

from hypothesis import HealthCheck, Phase, given, seed, settings

SEED = int(os.environ.get("RANDOM_SEED", "0"))


def chunks(runs: int, a_chunk: int) -> list[str]:
    """The ids of the chunks for so many runs."""
    return [f"seed{number}" for number in range(SEED, SEED + -(-runs // a_chunk))]


def drawn(chunk: str, runs: int, **strategies):
    """Run a function so often, with what the strategies draw for this chunk."""
    how = settings(
        max_examples=runs,
        database=None,
        deadline=None,
        print_blob=True,
        phases=[Phase.generate, *([Phase.shrink] if os.environ.get("RANDOM_SHRINK") else [])],
        suppress_health_check=list(HealthCheck),
    )

    def decorate(run):
        return seed(int(chunk.removeprefix("seed")))(how(given(**strategies)(run)))

    return decorate
