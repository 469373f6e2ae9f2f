"""What is refused, and what to do instead."""

from deploy_ops.errors import NotInTwoPhases


def refusal(subject: str, why: str, cure: str) -> NotInTwoPhases:
    """The error for a change that has no safe form."""
    return NotInTwoPhases(f"{subject}: {why}. Nothing was written. {cure}")
