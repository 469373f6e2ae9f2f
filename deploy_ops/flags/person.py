"""Who asks for a flag: a user, or the visitor behind a request."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import cached_property

from deploy_ops.flags.attributes import read_attribute
from deploy_ops.flags.request_flags import request_flags_of, visitor_id


class UserContext:
    """Somebody, as the rules ask about them; nothing is looked up before a rule needs it."""

    def __init__(self, request: HttpRequest | None, user: Any) -> None:
        self.user = user
        self._request = request
        self._attributes: dict[str, frozenset[str]] = {}

    @cached_property
    def user_id(self) -> str | None:
        """Primary key as text; None without a login."""
        user = self.user
        return str(user.pk) if user is not None and user.is_authenticated else None

    @cached_property
    def identity(self) -> str | None:
        """The user's id, else that in the visitor's cookie, else None."""
        if self.user_id is not None or self._request is None:
            return self.user_id
        return visitor_id(self._request)

    def attribute(self, name: str) -> frozenset[str]:
        """The values of a declared attribute, asked for once in the life of a request."""
        if name not in self._attributes:
            self._attributes[name] = read_attribute(name, self._request, self.user)
        return self._attributes[name]

    @property
    def is_staff(self) -> bool:
        """False for users that know no staff."""
        return bool(getattr(self.user, "is_staff", False))

    @property
    def is_superuser(self) -> bool:
        """False for users that know no superusers."""
        return bool(getattr(self.user, "is_superuser", False))

    @property
    def groups(self) -> frozenset[str]:
        """Names of the groups, asked for once in the life of the user object."""
        user = self.user
        if user is None or not user.is_authenticated or not hasattr(user, "groups"):
            return frozenset()
        if not hasattr(user, "_deploy_ops_groups"):
            names = frozenset(group.name for group in user.groups.all())
            setattr(user, "_deploy_ops_groups", names)
        found: frozenset[str] = getattr(user, "_deploy_ops_groups")
        return found


def person_of(request: HttpRequest | None, user: Any) -> UserContext:
    """Who asks; a request keeps it for its next flag, as long as its user is the same object."""
    if request is None:
        return UserContext(None, user)
    if user is None:
        user = getattr(request, "user", None)
    request_flags = request_flags_of(request)
    person = request_flags.person
    if person is None or person.user is not user:
        person = request_flags.person = UserContext(request, user)
    return person
