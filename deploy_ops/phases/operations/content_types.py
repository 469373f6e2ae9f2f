"""The content type of a model that is renamed, which Django renames only for its own RenameModel.

Its row gets the new name at once. Old code that asks for the old name gets a row of its own, by
get_or_create; in the contract phase what points to that one is led to the first, and it goes.
"""

from django.apps import apps
from django.db import IntegrityError, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.phases.operations.base import Change

APP = "django.contrib.contenttypes"
_REFERRING = """
    SELECT conrelid::regclass::text, quote_ident(attname) FROM pg_constraint
    JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
    WHERE contype = 'f' AND confrelid = to_regclass(%s) AND cardinality(conkey) = 1
"""


def rename_content_type(change: Change, app: str, old: str, new: str) -> None:
    """Rename the row, if there is none of the new name."""
    table = _table(change.connection)
    if table is None:
        return
    quote = change.editor.quote_value
    of_app = f"app_label = {quote(app)} AND model = "
    change.execute(
        f"UPDATE {table} SET model = {quote(new)} WHERE {of_app}{quote(old)}"
        f" AND NOT EXISTS (SELECT 1 FROM {table} WHERE {of_app}{quote(new)})"
    )


def merge_content_types(change: Change, app: str, gone: str, kept: str) -> None:
    """Lead what points to one row to another one, and delete it; not that of a model in the code.

    Where a rule of the database is in the way, such as a permission that both have, it stays, for
    `remove_stale_contenttypes`.
    """
    connection = change.connection
    table = _table(connection)
    if table is None or change.editor.collect_sql or connection.vendor != "postgresql":
        return
    if gone in apps.all_models.get(app, {}):
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT model, id FROM {table} WHERE app_label = %s", [app])
        ids = dict(cursor.fetchall())
        if gone not in ids or kept not in ids:
            return
        cursor.execute(_REFERRING, [table])
        for referring, column in cursor.fetchall():
            try:
                with transaction.atomic(connection.alias):
                    cursor.execute(
                        f"UPDATE {referring} SET {column} = %s WHERE {column} = %s",
                        [ids[kept], ids[gone]],
                    )
            except IntegrityError:
                return
        cursor.execute(f"DELETE FROM {table} WHERE id = %s", [ids[gone]])


def _table(connection: BaseDatabaseWrapper) -> str | None:
    """The table of content types, quoted; None where there is none."""
    if not apps.is_installed(APP):
        return None
    model = apps.get_model("contenttypes", "ContentType")
    if not router.allow_migrate_model(connection.alias, model):
        return None
    name = model._meta.db_table
    is_there = name in connection.introspection.table_names()
    return connection.ops.quote_name(name) if is_there else None
