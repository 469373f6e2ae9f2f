"""Static files of several releases in one directory, each with a manifest of its own."""

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.utils.text import get_valid_filename

from deploy_ops.version import code_version


class ReleaseStaticFilesStorage(ManifestStaticFilesStorage):
    """Django's storage of hashed names, whose manifest has the release in its name.

    All releases share STATIC_ROOT, so that a page of the release before finds its files after a
    switch. With one `staticfiles.json` for all, collecting the files of a new release would change
    what workers of the old one that start afterwards put into their pages.
    """

    @property
    def manifest_name(self) -> str:  # type: ignore[override]  # an attribute of the class there
        """`staticfiles-1.2.3.json`."""
        return manifest_of(code_version())


def manifest_of(version: str) -> str:
    """The name of a release's manifest."""
    return f"staticfiles-{get_valid_filename(version)}.json"
