"""What deployment, rollback and canary have in common: from an idle colour to its requests."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deploy_ops.audit import Event, Kind, Outcome, operator
from deploy_ops.errors import (
    DeployOpsError,
    LockHeld,
    ProgramError,
    ReleaseFailed,
    ReleaseRefused,
    ReleaseUnfinished,
)
from deploy_ops.files import private_directory
from deploy_ops.lock_file import LockFile
from deploy_ops.release.host import units
from deploy_ops.release.host.answers import is_ready, wait_until_ready
from deploy_ops.release.host.colours import Colour, place, serving, switch
from deploy_ops.release.host.commands import run_hook
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.record import OnItsWay, Record
from deploy_ops.release.host.shares import canary_colour, end_share
from deploy_ops.release.host.tags import Tag, parse
from deploy_ops.release.host.trail import note
from deploy_ops.release.host.watch import Tell

LOCK = "lock"
EXPAND, DRAIN = "expand", "drain"  # the steps of these names
LOCK_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Story:
    """One release on its way into a colour. `old` serves until the switch; None the first time."""

    host: Host
    kind: Kind
    tag: Tag
    colour: Colour
    old: Colour | None
    before: Tag | None
    tell: Tell
    began: float = field(default_factory=time.monotonic)

    def event(self, outcome: Outcome, message: str = "") -> None:
        """Add how it stands to the audit."""
        seconds = None if outcome is Outcome.STARTED else round(time.monotonic() - self.began, 1)
        details = {"from": self.before.name if self.before else None, "colour": str(self.colour)}
        event = Event(
            self.kind, outcome, self.tag.version, seconds=seconds, message=message, details=details
        )
        note(self.host, self.tell, event)

    @property
    def serves(self) -> str:
        """What serves while the story has not got to its switch, for messages."""
        return f"{self.before.name} serves" if self.before else "Nothing serves yet"


@contextmanager
def locked(host: Host, purpose: str, wait_seconds: float) -> Iterator[None]:
    """One at a time on this host; raises LockHeld, which says who holds it since when."""
    private_directory(host.state)
    lock, end = LockFile(host.state / LOCK, purpose), time.monotonic() + wait_seconds
    while holder := lock.try_acquire():
        if time.monotonic() >= end:
            raise LockHeld(
                f"Another deployment is at work on this host: {holder}. Nothing was changed. Wait "
                f"for it:\n    ./deploy.sh --wait 600 ..."
            )
        time.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def tag_of(host: Host, colour: Colour | None) -> Tag | None:
    """The tag of what a colour has."""
    name = colour.release(host) if colour else None
    return parse(name) if name else None


def serving_tag(host: Host) -> Tag:
    """The tag of what serves; raises ReleaseRefused before the first deployment."""
    tag = tag_of(host, serving(host))
    if tag is None:
        raise ReleaseRefused("Nothing serves here yet. Nothing was changed.")
    return tag


@contextmanager
def on_its_way(story: Story, step: str) -> Iterator[Callable[[str], None]]:
    """Note each step; whatever ends the block early gives the requests back and stops the colour.

    What then is left to do, stopping the old colour, is noted until `forget`.
    Raises ReleaseFailed, or ReleaseRefused where the expand phase was; ReleaseUnfinished if the way
    back failed too, or if a command of the release says that a person is needed.
    """
    host, had = story.host, story.colour.release(story.host)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = story.before.name if story.before else None
    record = Record(story.kind, story.tag.name, before, story.colour, had, step, operator(), now)
    way = OnItsWay(host, record)
    story.event(Outcome.STARTED)
    try:
        yield way.step
    except (DeployOpsError, KeyboardInterrupt, OSError) as error:
        what = str(error) or "Stopped by the operator."
        try:
            go_back(story, had)
        except (DeployOpsError, OSError) as second:
            story.event(Outcome.FAILED, str(second))
            gets = tag_of(host, serving(host))
            raise ReleaseUnfinished(
                f"{what}\nOn the way back: {second}\n"
                f"{gets.name if gets else 'Nothing'} gets the requests now."
            ) from error
        way.end()
        failure = _as_failure(story, way.record.step, what, error)
        story.event(Outcome.FAILED, str(failure))
        raise failure from error
    story.event(Outcome.DONE)
    way.step(DRAIN)


def start(story: Story) -> None:
    """Put the release into its colour, start it, wait until it is ready; raises ReleaseFailed."""
    host, colour = story.host, story.colour
    units.stop(host, colour)
    place(host, colour, story.tag.name)
    units.start(host, colour)
    waited = wait_until_ready(host, colour, story.tag)
    story.tell(f"{colour} ({story.tag.name}) is ready after {waited:.1f} s.")


def go_back(story: Story, had: str | None) -> None:
    """The requests to what had them, the colour stopped and given what it had before."""
    host, colour = story.host, story.colour
    if canary_colour(host):
        end_share(host)
    if serving(host) is colour:
        if story.old is None or story.before is None:
            raise ReleaseUnfinished(
                f"{story.tag.name} gets the requests, and there is no release before it to give "
                "them back to."
            )
        if not is_ready(host, story.old, story.before):
            raise ReleaseUnfinished(
                f"{story.tag.name} still gets the requests: {story.old} ({story.before.name}) is "
                "not ready. See both:\n    ./deploy.sh --status"
            )
        switch(host, story.old)
        story.tell(f"{story.before.name} gets the requests again.")
        if story.kind is not Kind.ROLLBACK:
            _run_hook_after(story, story.before)
    units.stop(host, colour)
    place(host, colour, had)


def _run_hook_after(story: Story, serves: Tag) -> None:
    """Run `post-rollback` of the release that serves again; nothing is undone if it fails."""
    try:
        if run_hook(story.host, "post-rollback", serves, story.tag):
            story.tell("Hook post-rollback has run.")
    except ReleaseFailed as error:
        story.tell(str(error))


def _as_failure(story: Story, step: str, what: str, error: BaseException) -> DeployOpsError:
    """What is raised, once the way back is gone: with what serves, and what has changed."""
    schema = ""
    if step != EXPAND and story.kind is not Kind.ROLLBACK:
        schema = f" What the expand phase of {story.tag.name} has changed in the schema stays."
    text = f"{what}\n{story.serves}.{schema}"
    code = error.returncode if isinstance(error, ProgramError) else None
    if code == ReleaseUnfinished.exit_code:
        return ReleaseUnfinished(text)
    if code == ReleaseRefused.exit_code and step == EXPAND:
        return ReleaseRefused(text)
    return ReleaseFailed(text)
