"""A calendar month as a value. A Fahrt can only lie in a month that this can express."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

# Wide enough for every trip, narrow enough to catch a year typed wrong (0206, 2062 for 2026).
FIRST_DAY = date(2000, 1, 1)
LAST_DAY = date(2049, 12, 31)


@dataclass(frozen=True, slots=True)
class Monat:
    """A month from FIRST_DAY to LAST_DAY; ValueError for any other, month 13 included."""

    jahr: int
    monat: int

    def __post_init__(self) -> None:
        if not 1 <= self.monat <= 12:
            raise ValueError(f"no month {self.monat}")
        if not FIRST_DAY.year <= self.jahr <= LAST_DAY.year:
            raise ValueError(f"no year {self.jahr}")

    @classmethod
    def of(cls, day: date) -> Self:
        return cls(day.year, day.month)

    @property
    def first_day(self) -> date:
        return date(self.jahr, self.monat, 1)

    @property
    def last_day(self) -> date:
        # The 28th plus four days is in the next month, whatever month it is.
        later = self.first_day.replace(day=28) + timedelta(days=4)
        return later - timedelta(days=later.day)

    @property
    def previous(self) -> Self | None:
        if self.first_day == FIRST_DAY:
            return None
        return self.of(self.first_day - timedelta(days=1))

    @property
    def next(self) -> Self | None:
        if self.last_day == LAST_DAY:
            return None
        return self.of(self.last_day + timedelta(days=1))
