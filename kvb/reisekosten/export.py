"""A month as CSV that a German Excel opens with a double click.

That takes a byte order mark (or umlauts are lost), semicolons and decimal commas. A cell that
begins like a formula would be run by the spreadsheet of whoever opens the file, so an apostrophe
makes text of it: https://owasp.org/www-community/attacks/CSV_Injection
"""

import csv
from collections.abc import Iterable, Iterator
from decimal import Decimal

from django.utils.translation import gettext as _

from kvb.reisekosten.models import Fahrt

BYTE_ORDER_MARK = "\ufeff"
# The full-width ones are the same to a spreadsheet in East Asian languages.
STARTS_FORMULA = tuple("=+-@＝＋－＠")
CONTROLS = ("\t", "\r", "\n")


class _Echo:
    """A file for csv.writer that gives back what it should keep."""

    def write(self, text: str) -> str:
        return text


def csv_lines(fahrten: Iterable[Fahrt]) -> Iterator[str]:
    """The file, line by line."""
    writer = csv.writer(_Echo(), delimiter=";")
    head = [_("Date"), _("From"), _("To"), _("Purpose"), _("Kilometres"), _("Reimbursement (EUR)")]
    yield BYTE_ORDER_MARK + writer.writerow(head)
    for fahrt in fahrten:
        texts = [as_text(text) for text in (fahrt.von, fahrt.nach, fahrt.zweck)]
        numbers = [as_number(fahrt.km), as_number(fahrt.erstattung)]
        yield writer.writerow([f"{fahrt.datum:%d.%m.%Y}", *texts, *numbers])


def as_text(text: str) -> str:
    """The text, so that no spreadsheet takes it for a formula."""
    is_formula = text.startswith(CONTROLS) or text.lstrip().startswith(STARTS_FORMULA)
    return f"'{text}" if is_formula else text


def as_number(number: Decimal) -> str:
    """28,50: two decimals, a comma, nothing between thousands."""
    return f"{number:.2f}".replace(".", ",")
