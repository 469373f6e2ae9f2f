"""A deployment: built beside, expanded, started, asked, switched, watched; contract comes later."""

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from deploy_ops.audit import Kind
from deploy_ops.errors import ProgramError, ReleaseFailed, ReleaseRefused, ReleaseUnfinished
from deploy_ops.release.host import units
from deploy_ops.release.host.colours import CURRENT, Colour, serving, switch
from deploy_ops.release.host.commands import manage, run_hook
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.record import forget
from deploy_ops.release.host.releases import build, prune
from deploy_ops.release.host.shares import canary_colour, refuse_beside_canary
from deploy_ops.release.host.story import EXPAND, Story, on_its_way, start, tag_of
from deploy_ops.release.host.tags import Tag, commit_of
from deploy_ops.release.host.watch import WATCH, Tell, read_figures, watch

CONTRACT_LATER = (
    "When no old code runs any more, this removes what only old code needed:\n"
    "    ./deploy.sh --contract"
)


def deploy(host: Host, tag: Tag, tell: Tell) -> None:
    """Bring a release from its tag to the requests.

    Raises ReleaseRefused where nothing has begun, ReleaseFailed where what served before serves,
    ReleaseUnfinished where a person is needed.
    """
    old = serving(host)
    before = tag_of(host, old)
    if before == tag:
        tell(f"{tag.name} serves already ({old}).")
        _finish_what_was_cut_off(host, old, tell)
        return
    story = prepare(host, Kind.DEPLOYMENT, tag, tell)
    with on_its_way(story, EXPAND) as step:
        bring_up(story, step)
        step("switch")
        hook(story, "pre-switch")
        counted = read_figures(host, story.old) if story.old else None
        switch(host, story.colour)
        tell(f"{tag.name} gets the requests ({story.colour}).")
        step("smoke")
        smoke(story)
        hook(story, "post-switch")
        step(WATCH)
        tell(f"Watching it for {host.watch_seconds:g} s.")
        start_of_new = read_figures(host, story.colour)
        said = watch(host, story.colour, tag, start_of_new, lambda: counted)
        tell(f"Watched for {host.watch_seconds:g} s: {said}.")
    finish(story)


def _finish_what_was_cut_off(host: Host, active: Colour | None, tell: Tell) -> None:
    """Stop the colour before, which a call that was killed after its switch has left running."""
    if active and canary_colour(host) is None and units.is_running(host, active.other):
        units.stop(host, active.other)
        tell(f"{active.other} still ran and was stopped.")


def prepare(host: Host, kind: Kind, tag: Tag, tell: Tell) -> Story:
    """Check and build the release; nothing that serves is touched. Raises ReleaseRefused."""
    refuse_beside_canary(host)
    old = serving(host)
    before = tag_of(host, old)
    commit = commit_of(host, tag)
    if before is not None and tag < before:
        raise ReleaseRefused(
            f"{before.name} serves, and {tag.name} is older. Nothing was changed. To go back to "
            f"it:\n    ./deploy.sh --rollback --to {tag.name}"
        )
    story = Story(host, kind, tag, old.other if old else Colour.BLUE, old, before, tell)
    tell(f"Building {tag.name} from commit {commit[:12]}.")
    build(host, tag, commit)
    try:
        manage(host, tag, "collectstatic", "--noinput", "-v0")
        # Its certificate too: the smoke test through the proxy would only fail after the switch.
        asked = ["--url", host.url, *metrics_options(host)]
        manage(host, tag, "predeploy", "--noinput", *asked)
        hook(story, "pre-migrate")
    except (ProgramError, ReleaseFailed) as error:
        raise ReleaseRefused(f"{tag.name} is not deployed: {error}\n{story.serves}.") from error
    return story


def bring_up(story: Story, step: Callable[[str], None]) -> None:
    """Expand the schema, start the release in its colour, and use it before anybody else does.

    Being ready says nothing of the pages: the polls are answered before the URLs are imported.
    Raises ProgramError, ReleaseFailed.
    """
    manage(story.host, story.tag, "safe_migrate", "--phase", "expand", "--noinput")
    step("start")
    start(story)
    url = _url_of(story.colour.socket(story.host))
    manage(story.host, story.tag, "smoke_test", "--url", url)


def hook(story: Story, name: str) -> None:
    """Run a hook of the release and say so; raises ReleaseFailed."""
    if run_hook(story.host, name, story.tag, story.before):
        story.tell(f"Hook {name} has run.")


def smoke(story: Story) -> None:
    """Use it as everybody does, through the proxy; raises ProgramError."""
    manage(story.host, story.tag, "smoke_test", "--url", story.host.url)


def finish(story: Story) -> None:
    """Let the old colour end, look once more, and remove old releases."""
    drain(story)
    for tag in prune(story.host):
        story.tell(f"Removed release {tag}.")
    look_after(story)
    seconds = time.monotonic() - story.began
    story.tell(f"{story.tag.name} is deployed, in {seconds:.0f} s. {CONTRACT_LATER}")


def look_after(story: Story) -> None:
    """Whether everything is as it should be, and the release in its history; ReleaseUnfinished."""
    try:
        options = ["--url", story.host.url, *metrics_options(story.host)]
        manage(story.host, story.tag, "postdeploy", *options)
    except ProgramError as error:
        raise ReleaseUnfinished(
            f"{story.tag.name} serves, and not everything is as it should be: {error}\n"
            f"The way back:\n    ./deploy.sh --rollback"
        ) from error


def metrics_options(host: Host) -> list[str]:
    """Where the release that serves tells its metrics; [] where none serves or nobody may ask."""
    if host.metrics_token_file is None or serving(host) is None:
        return []
    return ["--metrics", f"{_url_of(host.sockets / CURRENT)}{host.metrics_path}"]


def _url_of(path: Path) -> str:
    return f"http+unix://{quote(str(path), safe='')}"


def drain(story: Story) -> None:
    """Stop the colour that served before, once what it had in flight has ended."""
    if story.old is None or story.before is None:
        forget(story.host)
        return
    try:
        units.stop(story.host, story.old)
    except ProgramError as error:
        story.tell(f"{story.old} ({story.before.name}) gets no requests and does not stop: {error}")
    else:
        story.tell(f"{story.old} ({story.before.name}) has stopped; it stays for the way back.")
    forget(story.host)
