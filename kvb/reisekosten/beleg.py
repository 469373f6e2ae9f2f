"""What may be uploaded as a receipt."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.files import File
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

EXTENSIONS = ["pdf", "jpg", "jpeg", "png"]
MOST_BYTES = 5 * 1024 * 1024


def validate_size(beleg: File[bytes]) -> None:
    """ValidationError for a receipt of more than MOST_BYTES."""
    try:
        size = beleg.size
    except FileNotFoundError:
        # Editing a trip validates its old receipt too. That its file was lost, by a restore without
        # media for example, must not stop the person from correcting the trip.
        return
    if size > MOST_BYTES:
        raise ValidationError(
            _("The file has %(size)s; a receipt may have %(limit)s at most."),
            code="too_large",
            params={"size": filesizeformat(size), "limit": filesizeformat(MOST_BYTES)},
        )
