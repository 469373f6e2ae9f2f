"""Whether a release does what it is for, asked over HTTP as its users do."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from django.utils.module_loading import import_string

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError, SmokeTestFailed
from deploy_ops.release.client import Client
from deploy_ops.version import code_version

# A smoke test does one thing after another, and says the name of each when it is done.
SmokeTest = Callable[[Client], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done; `error` is "" where it went well."""

    name: str
    seconds: float
    error: str = ""


def service(client: Client) -> Iterator[str]:
    """What every application has: it answers, in the version that asks, and is ready."""
    answer = client.get(f"{conf.health_path}/").json()
    version = str(answer.get("version"))
    if version.removeprefix("v") != code_version().removeprefix("v"):
        raise SmokeTestFailed(f"version {version} answers, not {code_version()}")
    yield "the version answers"
    client.get(f"{conf.health_path}/ready/")
    yield "it is ready"


def run_smoke_tests(url: str) -> Iterator[Step]:
    """Do all of them, each with a visitor of its own; a step that failed ends its test, not all.

    Raises ConfigurationError if DEPLOY_OPS_SMOKE_TESTS names something that is not there.
    """
    tests = [service, *_declared()]
    for test in tests:
        yield from _steps(test.__name__, test(Client(url)))


def _declared() -> Iterable[SmokeTest]:
    try:
        return [import_string(path) for path in conf.smoke_tests]
    except ImportError as error:
        raise ConfigurationError(
            f"DEPLOY_OPS_SMOKE_TESTS names what cannot be imported: {error}. Nothing was asked."
        ) from error


def _steps(name: str, test: Iterator[str]) -> Iterator[Step]:
    done = f"{name}: beginning"
    with closing(test):  # type: ignore[type-var]  # a generator, which puts in order what it made
        while True:
            began = time.monotonic()
            try:
                done = next(test)
            except StopIteration:
                return
            except Exception as error:  # pylint: disable=broad-exception-caught  # foreign code
                reason = str(error) or type(error).__name__
                yield Step(f"after {done!r}", time.monotonic() - began, reason)
                return
            yield Step(done, time.monotonic() - began)
