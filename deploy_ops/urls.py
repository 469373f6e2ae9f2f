"""The polls as views and the page for staff: `path("", include("deploy_ops.urls"))`."""

from django.urls import path, re_path

from deploy_ops.health import views

app_name = "deploy_ops"

urlpatterns = [
    re_path(r"^health/?$", views.liveness, name="health"),
    re_path(r"^health/db/?$", views.connection, name="health_db"),
    re_path(r"^health/ready/?$", views.readiness, name="health_ready"),
    path("health/details/", views.details, name="health_details"),
]
