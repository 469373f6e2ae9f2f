"""The way back: to the colour that still runs in one rename, else by the same gate as forward."""

from deploy_ops.audit import Kind
from deploy_ops.errors import ProgramError, ReleaseRefused
from deploy_ops.lock_file import holder_of
from deploy_ops.release.host.answers import is_ready
from deploy_ops.release.host.colours import serving, switch
from deploy_ops.release.host.commands import manage
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.deploy import drain, hook, look_after
from deploy_ops.release.host.releases import directory_of, find_release
from deploy_ops.release.host.record import cut_off
from deploy_ops.release.host.shares import refuse_beside_canary
from deploy_ops.release.host.story import LOCK, Story, on_its_way, start, tag_of
from deploy_ops.release.host.tags import Tag, parse
from deploy_ops.release.host.watch import ASKED_BACK, WATCH, Tell


def roll_back(host: Host, to: Tag | None, tell: Tell) -> None:
    """Give the requests to the release before, or to `to`.

    Only code changes. Raises ReleaseRefused where the schema does not carry it, or where it is not
    there; ReleaseFailed where it does not get ready.
    """
    now = serving(host)
    current = tag_of(host, now)
    if now is None or current is None:
        raise ReleaseRefused("Nothing serves here yet. Nothing was changed.")
    refuse_beside_canary(host)
    there = tag_of(host, now.other)
    target = to or there
    if target is None or (to is None and target > current):
        raise ReleaseRefused(
            f"{current.name} serves, and which release it replaced is not known. Nothing was "
            "changed. Name one that is here:\n    ./deploy.sh --status\n"
            "    ./deploy.sh --rollback --to v1.2.2"
        )
    if target == current:
        raise ReleaseRefused(f"{target.name} serves already. Nothing was changed.")
    if find_release(host, target) is None:
        raise ReleaseRefused(
            f"The release {target.name} is not on this host. Nothing was changed. What is:\n"
            "    ./deploy.sh --status"
        )
    story = Story(host, Kind.ROLLBACK, target, now.other, now, current, tell)
    is_running = target == there and is_ready(host, now.other, target)
    if not is_running:  # what runs and is ready has the schema that it needs
        _check_schema(story, current)
    with on_its_way(story, "start") as step:
        if not is_running:
            start(story)
        step("switch")
        switch(host, story.colour)
        tell(f"{target.name} gets the requests ({story.colour}).")
        step("hooks")
        hook(story, "post-rollback")
    drain(story)
    look_after(story)  # also notes what code is at work now, for the next plan


def ask_back(host: Host) -> Tag | None:
    """Ask a deployment that watches its release to go back; return what serves then.

    It holds the lock, and takes less than a second: the colour before still runs. None where
    nobody watches.
    """
    record = cut_off(host)
    if record is None or record.step != WATCH or holder_of(host.state / LOCK) is None:
        return None
    (host.state / ASKED_BACK).touch(mode=0o600)
    return parse(record.came_from) if record.came_from else None


def _check_schema(story: Story, current: Tag) -> None:
    """Ask the newer release, which has the migrations of both; it says why not, and what to do."""
    host = story.host
    try:
        manage(host, current, "rollback", "--to", story.tag.name, "--plan")
    except ProgramError as error:
        raise ReleaseRefused(
            f"{story.tag.name} is not started: {error}\nNothing was changed, and {current.name} "
            "serves on. What it names above as next is typed as its user, with the environment of "
            "its units (docs/howto/set-up-a-host.md#management-commands), in\n"
            f"    {directory_of(host, current)}"
        ) from error
