"""Code that leaves a transaction open, of which Django knows nothing: what follows would be in it.

Django's own migrate says OK there, and the end of its session rolls everything back.
"""

import pytest

from tests.sample_apps.written import WrittenApp

pytestmark = pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
SHOP_ONLY = ("safe_migrate", "shop", "--no-backup", "--allow", "L105", "--allow", "L202")
NOTE = "INSERT INTO note VALUES (1)"
WAYS = {
    "a BEGIN without a COMMIT": f'migrations.RunSQL("BEGIN; {NOTE}")',
    "COMMIT and BEGIN": f'migrations.RunSQL("BEGIN; {NOTE}; COMMIT; BEGIN")',
    "autocommit off": "migrations.RunPython(lambda apps, editor:"
    f' (editor.connection.set_autocommit(False), editor.execute("{NOTE}")))',
    "an atomic block without an end": "migrations.RunPython(lambda apps, editor:"
    " (__import__('django.db.transaction').db.transaction.atomic().__enter__(),"
    f' editor.execute("{NOTE}")))',
    "and then it fails": "migrations.RunPython(lambda apps, editor:"
    f' (editor.execute("BEGIN"), editor.execute("{NOTE}"), 1 / 0))',
}
HANDLERS_WAYS = {
    "a BEGIN without a COMMIT": 'connections[using].cursor().execute("BEGIN")',
    "an atomic block without an end": "transaction.atomic(using).__enter__()",
    "and then it fails": 'connections[using].cursor().execute("BEGIN"); 1 / 0',
}
HANDLER = """
from django.db import connections, transaction
from django.db.models.signals import {signal}

def leave_open(app_config, using, plan, **kwargs):
    if app_config.label == "shop" and any(each.name == "0002_step" for each, _ in plan):
        {leave_open}

{signal}.connect(leave_open)
"""


@pytest.fixture
def shop(project):
    """An app with a table `note`, deployed."""
    app = WrittenApp(project.directory)
    app.migration("0001_note", 'migrations.RunSQL("CREATE TABLE note (id integer)")')
    project.with_apps(app.name)
    project.run("migrate", "shop", "0001", check=0)
    return app


@pytest.mark.parametrize("way", WAYS)
def test_a_step_without_a_transaction_that_leaves_one_open_is_not_called_applied(
    project, shop, way
):
    shop.migration("0002_step", WAYS[way], atomic=False)
    shop.migration("0003_more", 'migrations.RunSQL("INSERT INTO note VALUES (2)")')

    result = project.json(*SHOP_ONLY, check=4)

    was_committed = way == "COMMIT and BEGIN"
    error = "ZeroDivisionError" if way == "and then it fails" else "TransactionLeftOpen"
    assert f"shop.0002_step failed: {error}" in result["error"]
    assert "What shop.0002_step wrote is not known" in result["recovery"]["message"]
    assert "Committed by this run and still there: none." in result["recovery"]["message"]
    assert project.database.query("SELECT id FROM note") == [(1,)] * was_committed
    assert "not known" in project.run(*SHOP_ONLY, check=4).stderr


@pytest.mark.parametrize(("signal", "code"), [("pre_migrate", 3), ("post_migrate", 4)])
@pytest.mark.parametrize("way", HANDLERS_WAYS)
def test_a_handler_that_leaves_a_transaction_open_is_told(project, shop, signal, code, way):
    (project.directory / "generated" / "shop" / "models.py").write_text(
        HANDLER.format(signal=signal, leave_open=HANDLERS_WAYS[way])
    )
    shop.migration("0002_step", f'migrations.RunSQL("{NOTE}")')

    result = project.json(*SHOP_ONLY, check=code)

    error = "ZeroDivisionError" if way == "and then it fails" else "TransactionLeftOpen"
    assert f"A {signal} handler failed: {error}" in result["error"]
    assert project.database.query("SELECT id FROM note") == [(1,)] * (signal == "post_migrate")
