"""Random migrations, failures, kills and strangers: no acknowledged row lost, no false sentence.

RANDOM_RUNS is the number of runs over all three databases, RANDOM_SEED where they begin (0); both
are in the id of a test that fails, and hypothesis prints the plan and a blob that repeats it.
Without it there are 300, most of them on SQLite, where one takes a third of the time.
"""

import os
import signal

import pytest
from hypothesis import note

from tests.drills.drawing import chunks, drawn
from tests.drills.random_plans import oracle
from tests.project.commands import CommandServer
from tests.drills.random_plans.places import Postgres, Sqlite, prepare
from tests.drills.random_plans.plans import plans
from tests.drills.random_plans.world import World, environment
from tests.drills.random_plans.writing import write_app

RUNS = int(os.environ.get("RANDOM_RUNS", "0")) // 3
A_CHUNK = 25
CASES = [
    (kind, chunk)
    for kind, runs in {"sqlite": RUNS or 250, "pg15": RUNS or 25, "pg18": RUNS or 25}.items()
    for chunk in chunks(runs, A_CHUNK)
]
MOST_KILLS = 4


@pytest.fixture(scope="session")
def commands():
    server = CommandServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def places(request, commands, tmp_path_factory):
    """The first release, deployed once, with rows; runs get copies."""
    directory = tmp_path_factory.mktemp("first_release")
    if request.param == "sqlite":
        found = Sqlite(directory)
    else:
        found = Postgres(request.getfixturevalue(f"{request.param}_cluster"))
    write_app(directory)
    ended = commands.run(
        "migrate", env=environment(directory, found.url(found.base)), directory=directory
    )
    assert ended.code == 0, ended
    prepare(found)
    return found


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("places", "chunk"), CASES, indirect=["places"], scope="session")
def test_nothing_acknowledged_is_lost_and_nothing_said_is_false(places, chunk, commands, tmp_path):
    @drawn(chunk, A_CHUNK, plan=plans(places.vendor))
    def run(plan):
        with World(plan, places, commands, tmp_path / "project") as world:
            _run(world)

    run()


def _run(world: World) -> None:
    ended = world.safe_migrate()
    for _ in range(MOST_KILLS):
        if ended.code != -signal.SIGKILL:
            break
        world.open()
        ended = world.safe_migrate()
    note(str(ended))
    said = oracle.judge(world, ended)
    if ended.code == 4:
        _follow_the_advice(world, said)


def _follow_the_advice(world: World, said: oracle.Said) -> None:
    """A command that the message names works, or refuses with a sentence."""
    backups = {match["backup"] for match in said.sentences.get("restore", [])}
    if world.plan.way_out == "safe_migrate" or not backups:
        again = world.safe_migrate()
        if again.code == -signal.SIGKILL:
            world.open()
            return  # killed by the plan before it could say anything
        is_known = not {"unknown", "partially"} & said.sentences.keys()
        oracle.judge(world, again) if is_known else oracle.parse(again)
        return
    [backup] = backups
    if world.plan.way_out == "restore":
        again = world.manage("restore", backup, "--noinput", "--confirm", world.database)
    else:
        again = world.manage("backups", "show", backup)
    assert again.code in (0, 1, 4) and "Traceback" not in again.stdout + again.stderr, again
