"""Only what deploy_ops has."""

from django.urls import include, path

urlpatterns = [path("", include("deploy_ops.urls"))]
