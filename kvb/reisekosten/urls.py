from django.urls import path

from kvb.reisekosten import api, views

app_name = "reisekosten"

urlpatterns = [
    path("", views.heute, name="heute"),
    path("reisekosten/<int:jahr>/<int:monat>/", views.monat_view, name="monat"),
    path("reisekosten/<int:jahr>/<int:monat>/export.csv", views.export_csv, name="export"),
    path("reisekosten/fahrt/neu/", views.anlegen, name="anlegen"),
    path("reisekosten/fahrt/<int:pk>/", views.bearbeiten, name="bearbeiten"),
    path("reisekosten/fahrt/<int:pk>/loeschen/", views.loeschen, name="loeschen"),
    path("reisekosten/fahrt/<int:pk>/beleg/", views.beleg_view, name="beleg"),
    path("api/reisekosten/<int:jahr>/<int:monat>/", api.monat_json, name="api"),
]
