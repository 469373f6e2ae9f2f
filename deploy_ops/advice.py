"""Commands that messages advise: quoted for a shell, and for the database they are about."""

import shlex

from django.db import DEFAULT_DB_ALIAS


def manage(*words: str, alias: str) -> str:
    """Return the line to type for a command of ours, with `--database` where it is needed."""
    database = () if alias == DEFAULT_DB_ALIAS else ("--database", alias)
    return f"    {shlex.join(('python', 'manage.py', *words, *database))}"
