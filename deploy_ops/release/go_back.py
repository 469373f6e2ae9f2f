"""Undoing what came after an older release, by this newer one: the older one lacks the files."""

from dataclasses import replace
from datetime import timedelta

from deploy_ops.advice import manage
from deploy_ops.errors import ReleaseUnfinished
from deploy_ops.migrate.procedure import resolve_earlier, safe_migrate
from deploy_ops.migrate.resume import Ask
from deploy_ops.migrate.run import BackTo, Phase, Request, Result
from deploy_ops.progress import Progress
from deploy_ops.release.rollback import Decision, WayBack, find_way_back, recorded_release


class GoingBack:
    """The way back to a version, once what killed commands left is resolved."""

    def __init__(  # pylint: disable=too-many-arguments
        self,
        alias: str,
        version: str,
        wait: timedelta,
        *,
        progress: Progress,
        ask: Ask,
        resolved: str | None = None,
    ) -> None:
        self._request = Request(
            alias=alias,
            command=("rollback", "--to", f"v{version}"),
            phase=Phase.EXPAND,
            wait=wait,
            resolved=resolved,
        )
        self._progress = progress
        self._ask = ask
        resolve_earlier(self._request, progress=progress, ask=ask)
        self.way = find_way_back(alias, version)

    def undo(self) -> Result:
        """Back up, undo, verify; on a failure the recovery ladder, as of `safe_migrate`.

        Raises what `safe_migrate` raises, and ReleaseUnfinished where the older release does not
        work on what came out.
        """
        needs = recorded_release(self.way.alias, self.way.version)[1].needs
        request = replace(self._request, back_to=BackTo(self.way.targets, needs))
        result = safe_migrate(request, progress=self._progress, ask=self._ask)
        if result.exit_code == 0:
            require_code_only(self.way)
        return result


def require_code_only(way: WayBack) -> None:
    """Raise ReleaseUnfinished unless only code has to go back by now."""
    now = find_way_back(way.alias, way.version)
    if now.decision is not Decision.CODE_ONLY:
        reasons = "\n".join(each.msg for each in now.why)
        left = manage("rollback", "--to", f"v{way.version}", "--plan", alias=way.alias)
        raise ReleaseUnfinished(
            f"{way.version} does not work on what came out:\n{reasons}\nWhat was done stays. What "
            f"is left to do:\n{left}"
        )
