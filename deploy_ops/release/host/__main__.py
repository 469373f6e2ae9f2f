"""What deploy.sh starts: reads the command line, calls, and says what came of it."""

import argparse
import math
import os
import sys
from pathlib import Path

from deploy_ops.errors import DeployOpsError, Interrupted, ReleaseRefused, UsageError
from deploy_ops.interrupts import interruptible
from deploy_ops.release.host import canary
from deploy_ops.release.host.commands import manage
from deploy_ops.release.host.config import Host, Target, read_host
from deploy_ops.release.host.deploy import deploy
from deploy_ops.release.host.killed import put_in_order
from deploy_ops.release.host.rollback import ask_back, roll_back
from deploy_ops.release.host.shares import SHARES
from deploy_ops.release.host.status import status
from deploy_ops.release.host.story import locked, serving_tag
from deploy_ops.release.host.tags import Tag, head_of_main, parse

# A deployment that is asked back switches at once, and then stops what it had started.
GO_BACK_SECONDS = 120.0
DEV = "dev"
# What is done with the release that is there.
WITHOUT_TAG = ("rollback", "share", "watch", "promote", "abort", "contract", "status")


def main() -> int:
    """Return the exit code."""
    options = read_command_line(sys.argv[1:])
    if options.target == DEV:
        os.execvp("make", ["make", "restart-dev"])
    try:
        host = read_host(Path.cwd())
        _check_target(host, options.target)
        if options.status:
            print(status(host))
            return 0
        if options.watch:
            with interruptible():
                canary.keep_watch(host, _tell)
            return 0
        expected = ask_back(host) if options.rollback and not options.to else None
        wait = max(options.wait, GO_BACK_SECONDS) if expected else options.wait
        with interruptible(), locked(host, _purpose(), wait):
            put_in_order(host, _tell)
            if expected and serving_tag(host) == expected:
                _tell(f"{expected.name} gets the requests again.")
            else:
                _carry_out(host, options)
    except DeployOpsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Stopped by the operator.", file=sys.stderr)
        return Interrupted.exit_code
    return 0


def _carry_out(host: Host, options: argparse.Namespace) -> None:
    if options.rollback:
        roll_back(host, parse(options.to) if options.to else None, _tell)
    elif options.share is not None:
        canary.change_share(host, options.share, _tell)
    elif options.promote:
        canary.promote(host, _tell)
    elif options.abort:
        canary.abort(host, _tell)
    elif options.contract:
        manage(host, serving_tag(host), "safe_migrate", "--phase", "contract", "--noinput")
    elif options.canary is not None:
        canary.begin(host, _tag(host, options), options.canary, _tell)
    else:
        deploy(host, _tag(host, options), _tell)


def _check_target(host: Host, target: str | None) -> None:
    if target not in (None, host.target):
        raise ReleaseRefused(
            f"This host is {host.target}, as its host.toml says, and not {target}. Nothing was "
            "changed."
        )


def _tag(host: Host, options: argparse.Namespace) -> Tag:
    if options.tag is not None:
        return parse(options.tag)
    if host.target is Target.STAGING:
        return head_of_main(host)
    raise UsageError("Name the tag of a release:\n    ./deploy.sh v1.2.3")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return value


def _purpose() -> str:
    return " ".join(["deploy.sh", *sys.argv[1:]])


def _tell(text: str) -> None:
    print(text, flush=True)


def read_command_line(words: list[str]) -> argparse.Namespace:
    """Exits with 2 for words that do not go together: none is passed over in silence."""
    parser = _parser()
    options = parser.parse_args(words)
    others = [f"--{name}" for name in WITHOUT_TAG if getattr(options, name) not in (None, False)]
    if options.to is not None and not options.rollback:
        parser.error("--to goes with --rollback")
    if options.tag is not None and others:
        instead = f": --rollback --to {options.tag}" if options.rollback else ""
        parser.error(f"{others[0]} takes no tag{instead}")
    if options.target == DEV and (others or options.tag or options.canary):
        parser.error("--target dev is make restart-dev, and nothing else")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy.sh", description="Deploy a release, or go back to one.", allow_abbrev=False
    )
    parser.add_argument(
        "tag", nargs="?", help="vMAJOR.MINOR.PATCH; on staging by default the head of main"
    )
    parser.add_argument(
        "--target",
        choices=[DEV, *Target],
        help="what this host has to be (host.toml); dev is make restart-dev, on any machine",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--rollback", action="store_true", help="go back to the release before")
    what.add_argument(
        "--canary", type=int, choices=SHARES, help="begin a canary with this percentage of visitors"
    )
    what.add_argument(
        "--share", type=int, choices=SHARES, help="change the percentage of the running canary"
    )
    what.add_argument("--watch", action="store_true", help="watch the running canary until it ends")
    what.add_argument("--promote", action="store_true", help="give all requests to the canary")
    what.add_argument("--abort", action="store_true", help="end the canary and stop it")
    what.add_argument("--contract", action="store_true", help="remove what only old code needs")
    what.add_argument(
        "--status", action="store_true", help="show what serves and which releases there are"
    )
    parser.add_argument("--to", metavar="TAG", help="with --rollback: the release to go back to")
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="wait so long for another deployment",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
