"""The flags as a provider of OpenFeature (extra `openfeature`): for code that asks by its API."""

from collections.abc import Mapping
from typing import Any, NoReturn

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, TargetingKeyMissingError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

from deploy_ops.conf import conf
from deploy_ops.flags.attributes import texts_of
from deploy_ops.flags.declaration import declared_flags
from deploy_ops.flags.evaluation import evaluate_person
from deploy_ops.flags.person import person_of

GROUPS, STAFF, SUPERUSER = "groups", "is_staff", "is_superuser"

# By the rule that decided, or where the state comes from if no rule did.
# https://openfeature.dev/specification/types#resolution-details
_REASONS: Mapping[str, Reason] = {
    "override": Reason.STATIC,
    "environment": Reason.STATIC,
    "everyone": Reason.STATIC,
    "default": Reason.DEFAULT,
    "no_match": Reason.DEFAULT,
    "percentage": Reason.SPLIT,
    "starts_at": Reason.DISABLED,
    "ends_at": Reason.DISABLED,
}


class FlagsProvider(AbstractProvider):
    """Resolves boolean flags, which all are; the rules are those of `flag_enabled`.

    The targeting key is the user's primary key as text, or a visitor's id. `groups`, `is_staff`
    and `is_superuser` of the context are what rules of these names ask, and each other attribute
    is one of DEPLOY_OPS_FLAGS_ATTRIBUTES. The reason in full is `reason` in the flag's metadata.
    """

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name="deploy_ops")

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """On or off; FlagNotFoundError, or TargetingKeyMissingError for a share of nobody."""
        answer = evaluate_person(flag_key, ContextPerson(evaluation_context or EvaluationContext()))
        if answer is None:
            raise _not_found(flag_key)
        rule = answer.reason.rpartition(":")[2]
        if rule == "no_id":
            raise TargetingKeyMissingError(
                f"{flag_key} is on for a percentage of users, and no user was given"
            )
        return FlagResolutionDetails(
            value=answer.enabled,
            reason=_REASONS.get(rule, Reason.TARGETING_MATCH),
            variant="on" if answer.enabled else "off",
            flag_metadata={"reason": answer.reason},
        )

    async def resolve_boolean_details_async(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """The same; coroutines may not wait for the database themselves."""
        resolve = sync_to_async(self.resolve_boolean_details)
        return await resolve(flag_key, default_value, evaluation_context)

    def resolve_string_details(self, flag_key: str, *_args: Any, **_options: Any) -> NoReturn:
        """TypeMismatchError, or FlagNotFoundError."""
        _refuse(flag_key)

    def resolve_integer_details(self, flag_key: str, *_args: Any, **_options: Any) -> NoReturn:
        """TypeMismatchError, or FlagNotFoundError."""
        _refuse(flag_key)

    def resolve_float_details(self, flag_key: str, *_args: Any, **_options: Any) -> NoReturn:
        """TypeMismatchError, or FlagNotFoundError."""
        _refuse(flag_key)

    def resolve_object_details(self, flag_key: str, *_args: Any, **_options: Any) -> NoReturn:
        """TypeMismatchError, or FlagNotFoundError."""
        _refuse(flag_key)


class ContextPerson:
    """Somebody as an evaluation context describes them."""

    def __init__(self, context: EvaluationContext) -> None:
        self.user_id = self.identity = context.targeting_key or None
        self._attributes = context.attributes

    @property
    def groups(self) -> frozenset[str]:
        """Names of the groups."""
        return self.attribute(GROUPS)

    @property
    def is_staff(self) -> bool:
        """False unless the context says so."""
        return self._attributes.get(STAFF) is True

    @property
    def is_superuser(self) -> bool:
        """False unless the context says so."""
        return self._attributes.get(SUPERUSER) is True

    def attribute(self, name: str) -> frozenset[str]:
        """The values of an attribute, one or several."""
        return texts_of(self._attributes.get(name))


def context_of(request: HttpRequest | None = None, user: Any = None) -> EvaluationContext:
    """Somebody as rules ask about them, by default the request's user.

    All that rules may ask is looked up at once: the groups, and every declared attribute.
    """
    person = person_of(request, user)
    attributes = {name: sorted(person.attribute(name)) for name in conf.flags_attributes}
    account = {STAFF: person.is_staff, SUPERUSER: person.is_superuser}
    return EvaluationContext(
        person.identity, {**attributes, **account, GROUPS: sorted(person.groups)}
    )


def _refuse(flag_key: str) -> NoReturn:
    if flag_key not in declared_flags():
        raise _not_found(flag_key)
    raise TypeMismatchError(f"{flag_key} is a boolean flag, as all of deploy_ops are.")


def _not_found(flag_key: str) -> FlagNotFoundError:
    return FlagNotFoundError(f"{flag_key!r} is not declared in DEPLOY_OPS_FLAGS.")
