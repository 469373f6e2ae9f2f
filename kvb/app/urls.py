from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

admin.site.site_header = admin.site.site_title = "kvb-admin"

urlpatterns = [
    path("anmelden/", LoginView.as_view(redirect_authenticated_user=True), name="anmelden"),
    path("abmelden/", LogoutView.as_view(), name="abmelden"),
    path("admin/", admin.site.urls),
    path("", include("deploy_ops.urls")),
    path("", include("kvb.reisekosten.urls")),
    # Under gunicorn in development; empty without DEBUG, where nginx serves STATIC_ROOT.
    *staticfiles_urlpatterns(),
]
