from datetime import date

import pytest

from kvb.reisekosten.monat import Monat


def test_february_of_a_leap_year_ends_on_the_29th():
    assert Monat(2028, 2).last_day == date(2028, 2, 29)


def test_neighbours_cross_the_year():
    assert Monat(2025, 12).next == Monat(2026, 1)
    assert Monat(2026, 1).previous == Monat(2025, 12)


def test_first_and_last_month_have_no_neighbour_beyond():
    assert Monat(2000, 1).previous is None
    assert Monat(2049, 12).next is None


@pytest.mark.parametrize(("jahr", "monat"), [(2025, 0), (2025, 13), (1999, 12), (2050, 1)])
def test_what_is_no_month_cannot_exist(jahr, monat):
    with pytest.raises(ValueError, match="no (month|year)"):
        Monat(jahr, monat)
