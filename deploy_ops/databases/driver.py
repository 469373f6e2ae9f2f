"""psycopg, which deploy_ops speaks to PostgreSQL with; asked for before anything imports it."""

from deploy_ops.errors import VersionRefused
from deploy_ops.supported import PSYCOPG, installing, too_old


def require_psycopg() -> None:
    """Raise VersionRefused unless psycopg 3 is here and new enough, whatever Django uses."""
    try:
        import psycopg
    except ImportError as error:
        raise VersionRefused(
            f"deploy_ops speaks to PostgreSQL with psycopg 3, which cannot be loaded: {error}. "
            f"psycopg2 is not enough. Nothing was changed.{installing('psycopg[binary]', PSYCOPG)}"
        ) from error
    found = tuple(int(part) for part in psycopg.__version__.split(".")[:2])
    if found < PSYCOPG:
        raise VersionRefused(
            too_old("psycopg", PSYCOPG, found) + installing("psycopg[binary]", PSYCOPG)
        )
