"""The polls as views and the page for staff: `path("", include("deploy_ops.urls"))`.

At DEPLOY_OPS_HEALTH_PATH, below what the project includes them under.
"""

import re

from django.urls import re_path

from deploy_ops.conf import conf
from deploy_ops.health import views
from deploy_ops.health.paths import CONNECTION, LIVENESS, READINESS

app_name = "deploy_ops"
base = re.escape(conf.health_path.removeprefix("/"))

urlpatterns = [
    re_path(rf"^{base}{LIVENESS}/?$", views.liveness, name="health"),
    re_path(rf"^{base}{CONNECTION}/?$", views.connection, name="health_db"),
    re_path(rf"^{base}{READINESS}/?$", views.readiness, name="health_ready"),
    re_path(rf"^{base}/details/$", views.details, name="health_details"),
]
