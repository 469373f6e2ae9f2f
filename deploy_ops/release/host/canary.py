"""A canary: a release gets a share of the visitors beside the one that serves, and is compared."""

from dataclasses import dataclass

from deploy_ops.audit import Kind, Outcome
from deploy_ops.errors import ReleaseFailed, ReleaseRefused
from deploy_ops.release.host import units
from deploy_ops.release.host.answers import is_ready
from deploy_ops.release.host.colours import place, serving, switch
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.deploy import bring_up, finish, hook, prepare, smoke
from deploy_ops.release.host.figures import LEAST_REQUESTS, Figures
from deploy_ops.release.host.record import forget
from deploy_ops.release.host.shares import canary_colour, end_share, set_share
from deploy_ops.release.host.story import EXPAND, Story, locked, on_its_way, tag_of
from deploy_ops.release.host.tags import Tag
from deploy_ops.release.host.watch import Tell, read_figures, watch

# A share that is being changed is watched, with the lock, for watch_seconds.
LOCK_SECONDS = 600.0


def begin(host: Host, tag: Tag, share: int, tell: Tell) -> None:
    """Start the release beside the one that serves and give it a share; raises as `deploy` does.

    It is watched; afterwards it goes on until it is promoted or aborted.
    """
    story = prepare(host, Kind.CANARY, tag, tell)
    if story.old is None:
        raise ReleaseRefused(
            f"Nothing serves here yet, so no canary can run beside it. {tag.name} was built and "
            f"not started. Deploy it:\n    ./deploy.sh {tag.name}"
        )
    with on_its_way(story, EXPAND) as step:
        bring_up(story, step)
        hook(story, "pre-switch")
        step("share")
        set_share(host, story.colour, share)
        tell(f"{tag.name} gets {share} % of the visitors ({story.colour}).")
        observe(story, Start.of(story))
    forget(host)
    tell("End it:\n    ./deploy.sh --promote\n    ./deploy.sh --abort")


def change_share(host: Host, share: int, tell: Tell) -> None:
    """Give the canary another share and watch it; it is aborted where it serves worse."""
    story = _ready(host, tell)
    with on_its_way(story, "share"):
        set_share(host, story.colour, share)
        tell(f"{story.tag.name} gets {share} % of the visitors.")
        observe(story, Start.of(story))
    forget(host)


@dataclass(frozen=True, slots=True)
class Start:
    """What both releases had counted when the comparison began; None where one does not tell."""

    canary: Figures | None
    old: Figures | None

    @classmethod
    def of(cls, story: Story) -> "Start":
        """Now."""
        assert story.old is not None
        return cls(read_figures(story.host, story.colour), read_figures(story.host, story.old))

    def is_enough(self, now: "Start") -> bool:
        """Whether the canary has answered so many since that another comparison may begin."""
        if self.canary is None or now.canary is None:
            return True
        return now.canary.since(self.canary).requests >= LEAST_REQUESTS


def observe(story: Story, start: Start) -> None:
    """Compare it with the release that serves, in the same time. Raises ReleaseFailed."""
    host, old = story.host, story.old
    assert old is not None

    def beside() -> Figures | None:
        now = read_figures(host, old)
        return now.since(start.old) if now and start.old else None

    said = watch(host, story.colour, story.tag, start.canary, beside)
    story.tell(f"Watched for {host.watch_seconds:g} s: {said}.")


def keep_watch(host: Host, tell: Tell) -> None:
    """Watch the canary until somebody ends it; end it where it serves worse, by ReleaseFailed.

    Without the lock, so that it can be promoted meanwhile, or given another share.
    """
    story = _running(host, tell)
    tell(f"Watching {story.tag.name} until it is promoted or aborted.")
    start = Start.of(story)
    while _is_on(story):
        try:
            observe(story, start)
            now = Start.of(story)
            start = now if start.is_enough(now) else start
        except ReleaseFailed as error:
            with locked(host, "deploy.sh --watch", LOCK_SECONDS):
                if _is_on(story):
                    _end(story, str(error))
                    raise ReleaseFailed(f"{error}\n{story.serves}.") from error
    tell(f"{story.tag.name} is no canary any more.")


def _is_on(story: Story) -> bool:
    host, colour = story.host, story.colour
    return canary_colour(host) is colour and tag_of(host, colour) == story.tag


def _end(story: Story, reason: str) -> None:
    """No visitors any more, and no process."""
    end_share(story.host)
    units.stop(story.host, story.colour)
    place(story.host, story.colour, None)
    story.event(Outcome.FAILED, reason)
    story.tell(f"{story.tag.name} gets no visitors any more and has stopped.")


def promote(host: Host, tell: Tell) -> None:
    """Everybody to the canary."""
    story = _ready(host, tell)
    with on_its_way(story, "switch") as step:
        switch(host, story.colour)
        end_share(host)
        tell(f"{story.tag.name} gets all requests.")
        step("smoke")
        smoke(story)
        hook(story, "post-switch")
    finish(story)


def abort(host: Host, tell: Tell) -> None:
    """Everybody to what served before; the canary stops."""
    story = _running(host, tell)
    _end(story, "aborted by the operator")
    tell(f"{story.serves}.")


def _ready(host: Host, tell: Tell) -> Story:
    story = _running(host, tell)
    if not is_ready(host, story.colour, story.tag):
        raise ReleaseRefused(
            f"The canary {story.tag.name} is not ready, and its visitors still get it. Nothing was "
            "changed. End it:\n    ./deploy.sh --abort"
        )
    return story


def _running(host: Host, tell: Tell) -> Story:
    colour, old = canary_colour(host), serving(host)
    tag = tag_of(host, colour)
    if colour is None or tag is None or old is None:
        raise ReleaseRefused(
            "There is no canary. Nothing was changed. Begin one:\n    ./deploy.sh --canary 5 v1.2.3"
        )
    return Story(host, Kind.CANARY, tag, colour, old, tag_of(host, old), tell)
