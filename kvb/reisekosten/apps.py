from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ReisekostenConfig(AppConfig):
    name = "kvb.reisekosten"
    verbose_name = _("Travel expenses")
