"""What is asked; without somebody who answers, nothing is guessed that would lose data."""

from typing import Any, NoReturn

from django.db.migrations.questioner import NonInteractiveMigrationQuestioner
from django.db.migrations.state import ModelState

from deploy_ops.errors import NotInTwoPhases


class RefusingQuestioner(NonInteractiveMigrationQuestioner):
    """Nobody is asked (--noinput): raises NotInTwoPhases where the answer cannot be known.

    Django takes "no" for an answer to whether something was renamed, which removes the old column
    with all that is in it, and adds an empty one.
    """

    def ask_rename(
        self, model_name: str, old_name: str, new_name: str, field_instance: Any
    ) -> NoReturn:
        """Whether a field was renamed."""
        raise NotInTwoPhases(
            f"{model_name}.{old_name} is gone and {model_name}.{new_name} of the same kind has "
            "come. If it was renamed, removing the one and adding the other would lose what is in "
            "it. Nothing was written. Run this without --noinput and say which it is."
        )

    def ask_rename_model(
        self, old_model_state: ModelState, new_model_state: ModelState
    ) -> NoReturn:
        """Whether a model was renamed."""
        raise NotInTwoPhases(
            f"The model {old_model_state.app_label}.{old_model_state.name} is gone and "
            f"{new_model_state.name} with the same fields has come. If it was renamed, deleting "
            "the one and creating the other would lose all rows. Nothing was written. Run this "
            "without --noinput and say which it is."
        )

    def ask_not_null_addition(self, field_name: str, model_name: str) -> NoReturn:
        """What a new field gets in the rows that are there."""
        raise _no_value(model_name, field_name)

    def ask_not_null_alteration(self, field_name: str, model_name: str) -> NoReturn:
        """What rows get that have no value now."""
        raise _no_value(model_name, field_name)

    def ask_auto_now_add_addition(self, field_name: str, model_name: str) -> NoReturn:
        """What a new time gets in the rows that are there."""
        raise _no_value(model_name, field_name)


def _no_value(model_name: str, field_name: str) -> NotInTwoPhases:
    return NotInTwoPhases(
        f"{model_name}.{field_name} is NOT NULL and has no default, so what the rows get that are "
        "there cannot be known. Nothing was written. Give it a default or a db_default, or run "
        "this without --noinput, which asks for a value."
    )
