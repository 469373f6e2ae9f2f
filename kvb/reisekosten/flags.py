"""The feature flags of this application; settings.py hands them to deploy_ops."""

from datetime import date

from deploy_ops.flags import Flag


def _(text: str) -> str:
    """Mark a text for makemessages. Django's own gettext_noop reads the settings, which are not
    there yet."""
    return text


FLAGS = {
    "csv_export": Flag(
        _("CSV export of a month's trips"), owner="reisekosten", remove_by=date(2027, 3, 31)
    ),
}
