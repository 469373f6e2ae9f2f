"""Backends that keep a schema for each tenant, between which one connection switches."""

from django.db import connections

PACKAGES = frozenset({"boardinghouse", "django_pgschemas", "django_tenants", "tenant_schemas"})
# What those of projects have too: the methods that say whose schema the next statements are for.
SWITCHES = frozenset({"set_schema", "set_tenant"})


def keeps_tenants(alias: str) -> bool:
    """Whether the backend of an alias switches schemas, itself or by what it is derived from."""
    return any(
        base.__module__.partition(".")[0] in PACKAGES or not SWITCHES.isdisjoint(vars(base))
        for base in type(connections[alias]).__mro__
    )
