from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from kvb.reisekosten.models import Fahrt


# Generic in the type stubs, but not when Django 5.2 runs.
@admin.register(Fahrt)
class FahrtAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["datum", "person", "von", "nach", "km", "erstattung", "receipt"]
    list_select_related = ["person"]
    search_fields = ["von", "nach", "zweck", "person__username", "person__last_name"]
    date_hierarchy = "datum"
    # With millions of trips, counting all of them for every page costs more than the page.
    show_full_result_count = False
    autocomplete_fields = ["person"]
    fields = ["person", "datum", "von", "nach", "km", "zweck", "erstattung", "receipt"]
    # A receipt is the person's evidence: staff reads it, only its owner replaces it.
    readonly_fields = ["erstattung", "receipt"]

    @admin.display(description=_("receipt"))
    def receipt(self, fahrt: Fahrt) -> str:
        if not fahrt.beleg:
            return "–"
        return format_html(
            '<a href="{}">{}</a>', reverse("reisekosten:beleg", args=[fahrt.pk]), _("Download")
        )
