"""Moments out of files that anybody may have written, and of databases without time zones."""

from datetime import UTC, datetime


def moment(text: object) -> datetime | None:
    """A time in ISO 8601, UTC if it names no zone; None for anything else."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        if found is None:
            return None
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def aware(at: datetime) -> datetime:
    """With its zone: without USE_TZ Django reads what is local and says nothing of it."""
    from django.utils import timezone  # the host's commands run without Django

    return at if timezone.is_aware(at) else timezone.make_aware(at)
