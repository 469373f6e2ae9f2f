"""What checks are called in the reader's language."""

from django.utils.translation import gettext_lazy as _

TITLES = {
    "database": _("Database connection"),
    "migrations": _("Migrations"),
    "cache": _("Cache"),
    "storage": _("File storage"),
}


def title_of(check: str) -> str:
    """The title of a check by its name, such as `migrations` or `migrations:reports`.

    A check of the project has the name that its code gives it.
    """
    name, _separator, database = check.partition(":")
    title = str(TITLES.get(name, name))
    return f"{title} ({database})" if database else title
