"""Who may read /metrics: callers from a network, or with a token. Everybody else learns nothing."""

import hmac
import logging
from ipaddress import IPv4Address, IPv6Address, ip_address

from django.http import HttpRequest

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError
from deploy_ops.metrics_token import read_token

# Behind a proxy every caller has the proxy's address, so an address alone vouches for nobody. Such
# a header is never believed, only taken as a sign that a proxy is there.
SIGNS_OF_A_PROXY = (
    "HTTP_FORWARDED",
    "HTTP_VIA",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
)
logger = logging.getLogger(__name__)


def is_allowed(request: HttpRequest) -> bool:
    """Whether the caller may read the metrics; an invalid setting is logged and lets nobody in."""
    try:
        return _comes_from_allowed_network(request) or _brings_the_token(request)
    except (ConfigurationError, ValueError) as error:
        logger.error("Nobody can read /metrics: %s", error)
        return False


def _comes_from_allowed_network(request: HttpRequest) -> bool:
    networks = conf.metrics_allowed_networks
    if not networks or any(name in request.META for name in SIGNS_OF_A_PROXY):
        return False
    address = _address(request.META.get("REMOTE_ADDR", ""))
    return address is not None and any(address in network for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The caller's address; None for a unix socket, which has none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A server that listens on [::] sees IPv4 callers as ::ffff:192.0.2.1.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _brings_the_token(request: HttpRequest) -> bool:
    scheme, _, given = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer" or not given:
        return False
    token = read_token()
    # Bytes, since compare_digest refuses text beyond ASCII, and a caller may send any.
    return token is not None and hmac.compare_digest(
        given.strip().encode("utf-8", "surrogateescape"), token.reveal().encode()
    )
