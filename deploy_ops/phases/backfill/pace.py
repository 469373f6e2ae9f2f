"""How many rows the next batch has: as many as take about as long as a statement may wait."""

from dataclasses import dataclass

# Whoever updates a row of a batch waits for the end of the batch at most. Half of the 100 ms that
# count as late: a batch may take longer than those before it.
TARGET_SECONDS = 0.05
FIRST_ROWS = 500
FEWEST_ROWS = 10
# A stretch in which `where` holds for nothing is read fast; the next one may be full of rows.
MOST_ROWS = 8_000


@dataclass(slots=True)
class Pace:
    """The size of the next batch, learnt from those before."""

    rows: int = FIRST_ROWS

    def learn(self, rows: int, seconds: float) -> None:
        """A batch of so many rows took so long; the next one at most doubles, or halves."""
        fitting = rows * TARGET_SECONDS / max(seconds, 0.0001)
        bounded = min(max(fitting, self.rows / 2), self.rows * 2)
        self.rows = round(min(max(bounded, FEWEST_ROWS), MOST_ROWS))


def pause_after(rows: int, seconds: float, rows_per_second: float | None) -> float:
    """How many seconds to rest after a batch, so that the rate stays below a limit."""
    return max(0.0, rows / rows_per_second - seconds) if rows_per_second else 0.0
