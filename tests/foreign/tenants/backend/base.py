"""ENGINE: every cursor looks into the schema that was chosen last."""

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Says before each use whose tables are meant."""

    schema_name = "public"

    def set_schema(self, name):
        """Whose schema the next statements are for."""
        self.schema_name = name

    def _cursor(self, name=None):
        cursor = super()._cursor(name)
        if name is None:
            cursor.execute(f'SET search_path = "{self.schema_name}"')
        return cursor
