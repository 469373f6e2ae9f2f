"""Where Django looks for the connection of an ENGINE."""

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    vendor = "elsewhere"
    display_name = "Elsewhere"
