"""The Content-Security-Policy of our pages: what a browser may load and run on them."""

import secrets

from django.http import HttpRequest
from django.templatetags.static import static

HEADER = "Content-Security-Policy"
SCRIPT = "deploy_ops/operations.js"


def new_nonce() -> str:
    """A value that nobody can guess, for one answer."""
    return secrets.token_urlsafe(16)


def policy(request: HttpRequest, nonce: str, *, is_in_admin: bool = True) -> str:
    """Nothing, but: the page's own files by nonce, the administration's from the static files.

    Not 'self': uploads may be served from the same host, and none of them shall run here.
    """
    files = f" {_static_files(request)}" if is_in_admin else ""
    directives = {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'{files}",
        "style-src": f"'nonce-{nonce}'{files}",
        "img-src": f"{files} data:".lstrip(),
        "connect-src": request.build_absolute_uri(request.path),
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in directives.items())


def _static_files(request: HttpRequest) -> str:
    return request.build_absolute_uri(static(SCRIPT)).rpartition("deploy_ops/")[0]
