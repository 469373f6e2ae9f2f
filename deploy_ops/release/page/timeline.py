"""What was done of late; flags have their own history, and would hide the rest."""

from dataclasses import dataclass

from deploy_ops.audit import Kind
from deploy_ops.release.page.tone import Tone
from deploy_ops.release.timeline import Entry, read_timeline

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Timeline:
    """The newest first."""

    entries: tuple[Entry, ...]

    @property
    def tone(self) -> Tone:
        """As the last of them ended."""
        if not self.entries:
            return Tone.QUIET
        tones = {"started": Tone.BUSY, "failed": Tone.BAD, "recovered": Tone.WARN}
        return tones.get(self.entries[0].outcome, Tone.OK)


def read() -> Timeline:
    """Read the audit and the last journals."""
    return Timeline(tuple(read_timeline(SHOWN, without=[Kind.FLAG])))
