"""Whether the project has URL patterns for paths that deploy_ops answers: the finding C021."""

import codecs
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS
from django.urls import URLPattern, URLResolver, get_resolver

from deploy_ops.advice import manage


def clashes(paths: Iterable[str], setting: str) -> Iterator[CheckMessage]:
    """Yield a finding for each pattern of the project; `setting` moves ours out of its way.

    Without a ROOT_URLCONF there are none. Loading it may run any code of the project.
    """
    if not getattr(settings, "ROOT_URLCONF", None):
        return
    try:
        found = {each: path for path in sorted(paths) for each in _of_the_project(path)}
    except Exception as error:  # pylint: disable=broad-exception-caught  # foreign code
        yield checks.Warning(
            "Whether the project has the paths of deploy_ops itself is not known, since its URL "
            f"patterns cannot be loaded: {str(error) or type(error).__name__}",
            hint="This shows where:\n" + manage("check", alias=DEFAULT_DB_ALIAS),
            id="deploy_ops.C021",
        )
        return
    for pattern, path in found.items():
        yield clash(path, f"{pattern.pattern} ({pattern.lookup_str})", setting)


def clash(path: str, other: str, setting: str) -> CheckMessage:
    """The finding that a path of ours is that of another one, too."""
    return checks.Warning(
        f"{path} is a path of deploy_ops and of {other} as well: only one of them is asked.",
        hint=f"Give ours a path that is free by {setting}, or take the other one out.",
        id="deploy_ops.C021",
    )


def _of_the_project(path: str) -> Iterator[URLPattern]:
    """Patterns that match this path because of its words: one that takes any word is no clash."""
    takes_anything = set(_matching(get_resolver(), codecs.encode(path, "rot13")))
    for pattern in _matching(get_resolver(), path):
        if pattern not in takes_anything and not pattern.lookup_str.startswith("deploy_ops."):
            yield pattern


def _matching(entry: URLPattern | URLResolver, path: str) -> Iterator[URLPattern]:
    """All patterns that match, where resolving would stop at the first."""
    match = entry.pattern.match(path)
    if not match:
        return
    if isinstance(entry, URLPattern):
        yield entry
        return
    for each in entry.url_patterns:
        yield from _matching(each, str(match[0]))
