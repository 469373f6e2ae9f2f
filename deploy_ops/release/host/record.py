"""What is on its way, in a file: after a kill the next call knows what was done, and undoes it."""

from dataclasses import asdict, dataclass, replace
import json

from deploy_ops.files import private_directory, read_object, sync_directory, write_atomically
from deploy_ops.release.host.colours import Colour
from deploy_ops.release.host.config import Host

RECORD = "on-its-way.json"


@dataclass(frozen=True, slots=True)
class Record:
    """`colour` gets the release of `tag`; it had that of `had` before. `step` has begun."""

    kind: str
    tag: str
    came_from: str | None
    colour: str
    had: str | None
    step: str
    by: str
    began: str


class OnItsWay:
    """The record of one deployment, from its first change to its end."""

    def __init__(self, host: Host, record: Record) -> None:
        self._host = host
        self.record = record
        private_directory(host.state)
        self.step(record.step)

    def step(self, name: str) -> None:
        """Note that a step begins, before anything of it is done."""
        self.record = replace(self.record, step=name)
        content = json.dumps(asdict(self.record)).encode()
        write_atomically(self._host.state / RECORD, content)

    def end(self) -> None:
        """Everything of it is done, or undone."""
        forget(self._host)


def cut_off(host: Host) -> Record | None:
    """What a call that was killed has left; to be asked under the lock."""
    try:
        content = read_object((host.state / RECORD).read_bytes()) or {}
        record = Record(**content)
        Colour(record.colour)
    except (FileNotFoundError, PermissionError, TypeError, ValueError):
        return None
    return record


def forget(host: Host) -> None:
    """Remove the record."""
    (host.state / RECORD).unlink(missing_ok=True)
    sync_directory(host.state)
