"""The bars of a small chart, as numbers for the SVG of the template (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 40.0
SLOT = 10.0
WIDTH_OF_A_BAR = 6.0
# What is not nothing can be seen.
LOWEST = 1.5


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, in units of the SVG's viewBox, and the value that it stands for."""

    x: float
    y: float
    height: float
    value: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars from the oldest on the left; the highest has the value `most`."""

    bars: tuple[Bar, ...]
    most: float
    width: float
    height: float = HEIGHT
    bar_width: float = WIDTH_OF_A_BAR


def chart(values: Sequence[float], slots: int) -> Chart:
    """Lay out as many bars as there are values; fewer than `slots` leave room on the left."""
    most = max(values, default=0.0)
    first = slots - len(values)
    bars = [_bar(first + index, value, most) for index, value in enumerate(values)]
    return Chart(tuple(bars), most, slots * SLOT)


def _bar(slot: int, value: float, most: float) -> Bar:
    height = max(LOWEST, HEIGHT * value / most) if most > 0 and value > 0 else 0.0
    x = slot * SLOT + (SLOT - WIDTH_OF_A_BAR) / 2
    return Bar(round(x, 2), round(HEIGHT - height, 2), round(height, 2), value)
