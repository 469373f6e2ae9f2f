"""What the database computes for a row, on each kind of database."""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, UUIDField
from django.db.models.sql.compiler import SQLCompiler
from django.utils.deconstruct import deconstructible


@deconstructible(path="deploy_ops.phases.NewUUID")
class NewUUID(Func):  # pylint: disable=abstract-method  # Combinable defines ^ to refuse it
    """A random UUID, another one for each row; `uuid.uuid4` is what code calls for its own rows."""

    function = "gen_random_uuid"
    arity = 0
    output_field = UUIDField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        """As 32 hexadecimal digits, which is how Django keeps UUIDs there."""
        template = "lower(hex(randomblob(16)))"
        return super().as_sql(compiler, connection, template=template, **context)
