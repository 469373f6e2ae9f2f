from django import forms
from django.template.defaultfilters import filesizeformat
from django.utils.functional import lazy
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from kvb.reisekosten.beleg import EXTENSIONS, MOST_BYTES
from kvb.reisekosten.models import Fahrt


# Generic in the type stubs, but not when Django 5.2 runs.
class FahrtForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Fahrt
        fields = ["datum", "von", "nach", "km", "zweck", "beleg"]
        # Accepts and shows 12,5 as Germans write it.
        localized_fields = ["km"]
        help_texts = {
            "km": _("For example 28.50"),
            "beleg": format_lazy(
                _("Optional: {extensions}; at most {size}"),
                extensions=", ".join(extension.upper() for extension in EXTENSIONS),
                size=lazy(filesizeformat, str)(MOST_BYTES),
            ),
        }
        widgets = {
            # Browsers want ISO in the value and show it in the reader's own format.
            "datum": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
            "km": forms.TextInput(attrs={"inputmode": "decimal"}),
            # The clearable one would link to MEDIA_URL, which does not exist.
            "beleg": forms.FileInput(
                attrs={"accept": ",".join(f".{extension}" for extension in EXTENSIONS)}
            ),
        }
