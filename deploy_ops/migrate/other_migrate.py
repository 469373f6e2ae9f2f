"""Whether `manage.py migrate` does more than Django's, so that safe_migrate would leave that out.

safe_migrate applies Django's plan to the one schema that the connection sees. Packages for tenants
go through one schema after the other in a `migrate` of their own. Others only filter its output,
which cannot be told from outside: whoever has read it says so in DEPLOY_OPS_MIGRATE_WITHOUT.
"""

import inspect
from collections.abc import Iterator

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.db import connections

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.databases.tenants import keeps_tenants
from deploy_ops.errors import OtherMigrate

# Since Python 3.14 a class with annotations has a function that evaluates them.
ANNOTATIONS = frozenset({"__annotate__", "__annotate_func__"})


def what_is_other(alias: str) -> str:
    """Say in half a sentence why safe_migrate would not do all; "" where it would."""
    if keeps_tenants(alias):
        engine = connections[alias].settings_dict["ENGINE"]
        return f"database '{alias}' keeps a schema for each tenant (ENGINE {engine})"
    if modules := modules_in_the_way():
        return f"`migrate` of this project runs code of {', '.join(modules)}"
    return ""


def refuse_other_migrate(alias: str) -> None:
    """Raise OtherMigrate where the project migrates otherwise than by Django's command alone."""
    if message := refusal(alias):
        raise OtherMigrate(message)


def refusal(alias: str) -> str:
    """Why safe_migrate refuses this project, and what to do; "" where it does not."""
    other = what_is_other(alias)
    if not other:
        return ""
    backup, own = manage("backup", alias=alias), manage("migrate", alias=alias)
    what = f"{other[0].upper()}{other[1:]}"
    if keeps_tenants(alias):
        return (
            f"{what}, and safe_migrate migrates one schema: the tenants' would lack what the new "
            "code needs, and no error would say so. Nothing was changed. Take a backup, which "
            "holds all schemas, and migrate with the command of the package that keeps them, most "
            f"often migrate or migrate_schemas:\n{backup}\n{own}"
        )
    return (
        f"{what}, and safe_migrate would leave that out: other schemas that it migrates, or "
        f"whatever it does besides. Nothing was changed. Take a backup, and migrate with it:\n"
        f"{backup}\n{own}\nIf you have read that code and a migration does not need it, say so in "
        f"the settings:\n    DEPLOY_OPS_MIGRATE_WITHOUT = {modules_in_the_way()}"
    )


def modules_in_the_way() -> list[str]:
    """Modules of the code that `migrate` runs besides Django's, but for those of the setting."""
    return sorted(set(_other_modules()) - set(conf.migrate_without))


def _other_modules() -> Iterator[str]:
    """A class that only sets data, such as `autodetector`, adds no code."""
    # Slow to load, and not needed at the start.
    from django.core.management.commands import migrate
    from django.db.migrations.executor import MigrationExecutor

    found = get_commands()["migrate"]
    try:
        command = found if isinstance(found, BaseCommand) else load_command_class(found, "migrate")
    except Exception:  # pylint: disable=broad-exception-caught  # any code of the project
        yield f"{found}.management.commands.migrate"  # which cannot be read, so nor known
        return
    for kind in type(command).__mro__:
        for name, value in vars(kind).items():
            if name not in ANNOTATIONS and _is_code(value):
                module = _module(kind, value)
                if module.partition(".")[0] not in ("django", "builtins"):
                    yield module
    executor = vars(migrate)["MigrationExecutor"]
    if executor is not MigrationExecutor:
        yield executor.__module__


def _is_code(value: object) -> bool:
    is_called = callable(value) and not inspect.isclass(value)
    return is_called or isinstance(value, classmethod | property)


def _module(kind: type, value: object) -> str:
    """Where it was written: what was put in the place of a method of Django's is not Django's."""
    if inspect.isfunction(value) and kind.__module__.startswith("django."):
        return str(value.__globals__["__name__"])
    return kind.__module__
