"""The readiness checks, as this process has them."""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy_ops.health.draining import is_draining
from deploy_ops.health.probe import Outcome, outcomes
from deploy_ops.health.readiness import readiness_probes
from deploy_ops.release.page.tone import Tone


@dataclass(frozen=True, slots=True)
class Health:
    """Each check by name, failing ones first, and whether this instance drains."""

    checks: tuple[tuple[str, Outcome], ...]
    is_draining: bool

    @property
    def failing(self) -> int:
        """How many checks do not pass."""
        return sum(not outcome.is_ok for _, outcome in self.checks)

    @property
    def tone(self) -> Tone:
        """Not ready is for a person; draining ends by itself."""
        if self.failing:
            return Tone.BAD
        return Tone.WARN if self.is_draining else Tone.OK


def read() -> Health:
    """Ask the probes that the polls of a load balancer ask, too."""
    return health(outcomes(readiness_probes()), is_draining())


def health(found: Mapping[str, Outcome], drains: bool) -> Health:
    """Put first what does not pass."""
    ordered = sorted(found.items(), key=lambda each: (each[1].is_ok, each[0]))
    return Health(tuple(ordered), drains)
