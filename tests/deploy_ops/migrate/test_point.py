"""What a safety point says where another took its place, or requests are in the way."""

from types import SimpleNamespace

from deploy_ops.errors import PointFailed
from deploy_ops.migrate import point
from deploy_ops.migrate.run import Request, Result
from deploy_ops.migrate.safety import Choice, Safety
from deploy_ops.progress import Silent
from deploy_ops.restore.job import PointJob
from deploy_ops.restore.swap import PreparedRestore


def test_backup_instead_of_a_clone_that_failed_is_what_the_result_tells(monkeypatch):
    def fail(*_):
        raise PointFailed("kvb could not be cloned: no space left on device")

    monkeypatch.setattr(point, "_clone", fail)
    monkeypatch.setattr(point, "_back_up", lambda run: None)
    monkeypatch.setattr(point, "choose", lambda *_, **__: Choice(Safety.CLONE, 1.0))
    result = Result(database="default")
    run = SimpleNamespace(
        backup=None, alias="default", request=Request(alias="default"), result=result
    )
    run.progress = Silent()

    point.make_point(run)

    assert result.safety.method is Safety.DUMP
    assert "no space left" in result.safety.others[Safety.CLONE]


def test_clone_that_requests_keep_from_being_put_back_is_named_as_it_is_typed():
    contents = SimpleNamespace(id="20260131T020000Z-abcdef")
    restoring = SimpleNamespace(beside="kvb_point_20260131T020000Z")
    job = PointJob(contents, "default", None, Silent())
    prepared = PreparedRestore(job, SimpleNamespace(restoring=restoring), (), None, None)

    reason = prepared._reason()  # pylint: disable=protected-access

    assert f"restore --to-point {restoring.beside} --end-requests" in reason.otherwise
    assert restoring.beside in reason.purpose
