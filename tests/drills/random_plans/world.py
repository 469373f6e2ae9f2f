"""One run: the project, its database, the command, and what the trace says happened."""

import json
import os
import shutil
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.project.commands import CommandServer, Result
from tests.drills.random_plans.deeds import Deed, connect, do
from tests.drills.random_plans.places import Places, Portrait
from tests.drills.random_plans.plans import Plan
from tests.drills.random_plans.writing import APP, write_app

# What the lint would refuse is what these plans are about.
FAST = ("--lock-timeout", "100ms", "--lock-retries", "2", "--wait", "10", "--allow", "L202")


def environment(directory: Path, url: str, script: Path | None = None) -> dict[str, str]:
    """What a command gets."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(directory),
        "DJANGO_SETTINGS_MODULE": "tests.project.settings",
        "DATABASE_URL": url,
        "DEPLOY_OPS_STATE_DIR": str(directory / "ops"),
        "MEDIA_ROOT": str(directory / "media"),
        "SAMPLE_APPS": APP,
    }
    return env | ({"RANDOM_SCRIPT": str(script)} if script else {})


def _lines(script: Path) -> list[dict]:
    path = script.with_suffix(".trace")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass
class World:
    """Where a plan is run."""

    plan: Plan
    places: Places
    commands: CommandServer
    directory: Path
    database: str = ""
    before: set[str] = field(default_factory=set)  # recorded when the last command started
    ended: list[Result] = field(default_factory=list)
    _idler: Any = None

    def __enter__(self) -> "World":
        shutil.rmtree(self.directory, ignore_errors=True)
        (self.directory / "ops").mkdir(mode=0o700, parents=True)
        (self.directory / "media").mkdir()
        write_app(self.directory, self.plan.migrations)
        self.database = self.places.copy()
        self._write_script(self._script, self.database, list(self.plan.deeds), replay=False)
        if self.plan.has_idler:
            self._idler = connect(self.places.vendor, self.places.place(self.database))
            self._idler.execute("SELECT count(*) FROM plan_side").fetchall()
        return self

    def __exit__(self, *_: object) -> None:
        if self._idler:
            self._idler.close()
        self.places.drop(self.database)

    @property
    def _script(self) -> Path:
        return self.directory / "script.json"

    def manage(self, *argv: str) -> Result:
        """Run a command on the database of the run."""
        self.before = self.places.recorded(self.database)
        env = environment(self.directory, self.places.url(self.database), self._script)
        self.ended.append(self._run(*argv, env=env))
        return self.ended[-1]

    def _run(self, *argv: str, env: dict[str, str]) -> Result:
        return self.commands.run(*argv, env=env, directory=self.directory)

    def safe_migrate(self) -> Result:
        """Run the command that all of this is about."""
        return self.manage("safe_migrate", *FAST, *self.plan.options, "--format", "json")

    def open(self) -> None:
        """Let the next command find a database that a killed run had for itself, and open it."""
        if "--exclusive" in self.plan.options:
            env = environment(self.directory, self.places.url(self.database))
            ended = self._run("restore", "--noinput", env=env)
            assert ended.code == 0, ended

    def trace(self) -> list[dict]:
        """What happened, in order."""
        return _lines(self._script)

    @property
    def acknowledged(self) -> list[Deed]:
        """Deeds of others that were acknowledged."""
        by_number = {deed.number: deed for deed in self.plan.deeds}
        return [by_number[line["deed"]] for line in self.trace() if line.get("ok")]

    @property
    def failed_deeds(self) -> list[str]:
        """Names that deeds which were not acknowledged may have left (an invalid index)."""
        return [f"others_{1000 + line['deed']}" for line in self.trace() if line.get("ok") is False]

    @property
    def have_others_acted(self) -> bool:
        """Whether anybody else was there at all."""
        return self.plan.has_idler or any("deed" in x or "locked" in x for x in self.trace())

    def expected(self, committed: set[str]) -> tuple[Portrait, list[Deed]]:
        """The first release with these migrations and what others did in between, in their order.

        Also the deeds that have no place in it, since what they wrote to is not there.
        """
        twin = self.places.copy()
        try:
            homeless = self._replay(twin, committed)
            return self.places.portrait(twin), homeless
        finally:
            self.places.drop(twin)

    def _replay(self, twin: str, committed: set[str]) -> list[Deed]:
        at_points, rest = self._order(committed)
        homeless = []
        if committed - {"0001_initial"}:
            script = self.directory / "twin.json"
            script.with_suffix(".trace").unlink(missing_ok=True)
            self._write_script(script, twin, at_points, replay=True)
            env = environment(self.directory, self.places.url(twin), script)
            ended = self._run("migrate", "plan", max(committed), "-v", "0", env=env)
            assert ended.code == 0, f"The plan itself does not work: {ended}"
            failed = {line["deed"] for line in _lines(script) if line.get("ok") is False}
            homeless += [deed for deed in at_points if deed.number in failed]
        place = self.places.place(twin)
        return homeless + [d for d in rest if not do(d, self.places.vendor, place)]

    def _order(self, committed: set[str]) -> tuple[list[Deed], list[Deed]]:
        """Acknowledged deeds at the points where a plain migrate repeats them, and those after it.

        A point that is passed again (after a retry, a kill or a reversal) counts the last time.
        """
        trace, by_number = self.trace(), {deed.number: deed for deed in self.plan.deeds}
        last = {line["point"]: n for n, line in enumerate(trace) if "point" in line}
        numbers = {f"m{int(name[:4])}." for name in committed}
        points = {
            n: point
            for point, n in last.items()
            if point.startswith(tuple(numbers)) and "back_" not in point
        }
        at_points, rest = [], []
        for index, line in enumerate(trace):
            if not line.get("ok"):
                continue
            deed = by_number[line["deed"]]
            here = max(n for n, each in enumerate(trace[:index]) if "point" in each)
            where = here if here in points else min((n for n in points if n > index), default=None)
            if where is None:
                rest.append(deed)
            else:
                at_points.append(Deed(deed.number, points[where], deed.kind, deed.target))
        return at_points, rest

    def _write_script(self, path: Path, database: str, deeds: list[Deed], *, replay: bool) -> None:
        facts = {
            "vendor": self.places.vendor,
            "place": self.places.place(database),
            "replay": replay,
            "deeds": [asdict(deed) for deed in deeds],
            "failures": [] if replay else [asdict(failure) for failure in self.plan.failures],
        }
        path.write_text(json.dumps(facts))

    def portrait(self) -> Portrait:
        """The live database now."""
        return self.places.portrait(self.database)
