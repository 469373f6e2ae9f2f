"""Users and groups as people name them, and as rules keep them: keys of users, names of groups."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db.models import QuerySet

from deploy_ops.errors import ConfigurationError
from deploy_ops.flags.rules import Rules


def find_users(names: Iterable[str]) -> dict[str, Any]:
    """The users that exist, by user name; ConfigurationError without django.contrib.auth."""
    try:
        model: Any = get_user_model()
    except ImproperlyConfigured:
        raise _without_accounts() from None
    field = model._meta.get_field(model.USERNAME_FIELD)
    valid = [name for name in names if _is_valid(field, name)]
    found: Iterable[Any] = QuerySet(model).filter(**{f"{field.name}__in": valid}) if valid else ()
    return {str(user.get_username()): user for user in found}


def names_of_users(all_rules: Iterable[Rules]) -> dict[str, str]:
    """Names of the users that rules list, by primary key as text.

    Deleted ones are left out, and so is a key that could be none: rules outlive the user model.
    """
    model: Any = get_user_model()
    keys = {key for rules in all_rules for key in rules.users if _is_valid(model._meta.pk, key)}
    users: Mapping[Any, Any] = QuerySet(model).in_bulk(list(keys)) if keys else {}
    return {str(key): str(user.get_username()) for key, user in users.items()}


def some_users(limit: int) -> tuple[list[Any], int]:
    """So many users with their groups, the highest keys first, and how many there are in all.

    ConfigurationError without django.contrib.auth.
    """
    try:
        model: Any = get_user_model()
    except ImproperlyConfigured:
        raise _without_accounts() from None
    users: QuerySet[Any] = QuerySet(model).order_by("-pk")
    if hasattr(model, "groups"):
        users = users.prefetch_related("groups")
    return list(users[:limit]), users.count()


def group_names() -> set[str]:
    """The names of all groups; ConfigurationError without django.contrib.auth."""
    try:
        group: Any = apps.get_model("auth", "Group")
    except LookupError:
        raise _without_accounts() from None
    return set(group.objects.values_list("name", flat=True))


def _is_valid(field: Any, text: str) -> bool:
    try:
        field.to_python(text)
    except ValidationError:
        return False
    return True


def _without_accounts() -> ConfigurationError:
    return ConfigurationError(
        "django.contrib.auth is not installed, so there are neither users nor groups. "
        "Nothing was changed."
    )
