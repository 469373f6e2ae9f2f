"""A canary: a release gets a share of the visitors beside the one that serves, and is compared."""

from deploy_ops.audit import Kind, Outcome
from deploy_ops.errors import ReleaseRefused
from deploy_ops.release.host import units
from deploy_ops.release.host.answers import is_ready
from deploy_ops.release.host.colours import place, serving, switch
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.deploy import bring_up, finish, hook, prepare, smoke
from deploy_ops.release.host.figures import Figures
from deploy_ops.release.host.record import forget
from deploy_ops.release.host.shares import canary_colour, end_share, set_share
from deploy_ops.release.host.story import EXPAND, Story, on_its_way, tag_of
from deploy_ops.release.host.tags import Tag
from deploy_ops.release.host.watch import Tell, read_figures, watch


def begin(host: Host, tag: Tag, share: int, tell: Tell) -> None:
    """Start the release beside the one that serves and give it a share; raises as `deploy` does.

    It is watched; afterwards it goes on until it is promoted or aborted.
    """
    story = prepare(host, Kind.CANARY, tag, tell)
    if story.old is None:
        raise ReleaseRefused("Nothing serves here yet, so there is nothing to try it beside.")
    with on_its_way(story, EXPAND) as step:
        bring_up(story, step)
        hook(story, "pre-switch")
        step("share")
        set_share(host, story.colour, share)
        tell(f"{tag.name} gets {share} % of the visitors ({story.colour}).")
        observe(story)
    forget(host)
    tell("End it:\n    ./deploy.sh --promote\n    ./deploy.sh --abort")


def change_share(host: Host, share: int, tell: Tell) -> None:
    """Give the canary another share and watch it; it is aborted where it serves worse."""
    story = _ready(host, tell)
    with on_its_way(story, "share"):
        set_share(host, story.colour, share)
        tell(f"{story.tag.name} gets {share} % of the visitors.")
        observe(story)
    forget(host)


def observe(story: Story) -> None:
    """Compare it with the release that serves, in the same time. Raises ReleaseFailed."""
    host, old = story.host, story.old
    assert old is not None
    start_of_old = read_figures(host, old)

    def beside() -> Figures | None:
        now = read_figures(host, old)
        return now.since(start_of_old) if now and start_of_old else None

    said = watch(host, story.colour, story.tag, beside, host.watch_seconds)
    story.tell(f"Watched for {host.watch_seconds:g} s: {said}.")


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
    end_share(host)
    units.stop(host, story.colour)
    place(host, story.colour, None)
    story.event(Outcome.FAILED, "aborted by the operator")
    tell(f"{story.tag.name} gets no visitors any more and has stopped. {story.serves}.")


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
