"""Tables in a pipe, on terminals of any width, and in the hour that autumn has twice."""

from datetime import UTC, datetime

import pytest

from deploy_ops.management.output import spelled
from deploy_ops.management.tables import local_time, table

HEADINGS = ("ID", "STATE", "NOTES")
ROWS = [
    ("20260131T020000Z", "verified by reading", "before the move, 日本語 and a long label"),
    ("20260201T020000Z", "", "Überfahrt\nof two lines"),
]


def test_in_a_pipe_each_row_is_a_line_however_long():
    heading, first, second = table(HEADINGS, ROWS, width=None).splitlines()
    assert heading == "ID                STATE                NOTES"
    assert (
        first == "20260131T020000Z  verified by reading  before the move, 日本語 and a long label"
    )
    assert second == "20260201T020000Z                       Überfahrt of two lines"


def test_on_a_terminal_cells_are_folded_to_its_width_but_not_ids():
    from rich.cells import cell_len

    lines = table(HEADINGS, ROWS, width=48).splitlines()
    assert max(map(cell_len, lines)) <= 48 and len(lines) > 3
    assert [line[:16].strip() for line in lines if line[:16].strip()] == [
        "ID",
        *(row[0] for row in ROWS),
    ]


@pytest.mark.parametrize("width", [36, 1])
def test_where_no_word_would_fit_each_row_is_a_block(width):
    first, second = table(HEADINGS, ROWS, width=width, style=str.lower).split("\n\n")
    assert first.splitlines()[:2] == ["id     20260131T020000Z", "state  verified by reading"]
    assert second.splitlines() == ["id     20260201T020000Z", "notes  Überfahrt of two lines"]


def test_what_cannot_be_printed_is_escaped_before_columns_are_measured():
    assert spelled("Über\x1b[2J", "ascii") == "\\xdcber\\x1b[2J"
    assert spelled("Über \udcfc", "utf-8") == "Über \\udcfc"


def test_in_the_hour_that_comes_twice_the_zone_is_named(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    times = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1, 2)]
    assert [local_time(each) for each in times] == [
        "2026-10-25 02:30 CEST",
        "2026-10-25 02:30 CET",
        "2026-10-25 03:30",
    ]
    assert local_time(datetime(2026, 3, 29, 1, 30, tzinfo=UTC)) == "2026-03-29 03:30"
