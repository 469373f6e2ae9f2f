"""What is asked; without somebody who answers, nothing is guessed that would lose data."""

import datetime
import sys
from decimal import Decimal
from typing import Any, NoReturn

from django.db import models
from django.db.migrations.questioner import (
    InteractiveMigrationQuestioner,
    MigrationQuestioner,
    NonInteractiveMigrationQuestioner,
)
from django.db.migrations.state import ModelState
from django.db.models import F, functions
from django.utils import timezone

from deploy_ops.errors import NotInTwoPhases

# What an answer may be made of: Django's two names, and what expressions are written with.
NAMES = {
    "Decimal": Decimal,
    "F": F,
    "datetime": datetime,
    "functions": functions,
    "models": models,
    "timezone": timezone,
}


def questioner_for(questioner: MigrationQuestioner | None) -> MigrationQuestioner | None:
    """Ours in place of the one that makemigrations has made."""
    if isinstance(questioner, NonInteractiveMigrationQuestioner):
        return RefusingQuestioner(
            specified_apps=questioner.specified_apps, dry_run=questioner.dry_run
        )
    if isinstance(questioner, InteractiveMigrationQuestioner):
        return AskingQuestioner(
            specified_apps=questioner.specified_apps,
            dry_run=questioner.dry_run,
            prompt_output=questioner.prompt_output,
        )
    return questioner


class AskingQuestioner(InteractiveMigrationQuestioner):
    """Django's questions; what fills the rows may also be computed from their other columns."""

    def _ask_default(self, default: str = "") -> Any:
        say = self.prompt_output.write
        say("Please enter the default value as valid Python, for example timezone.now, or what the")
        say('database computes for each row: functions.Round(F("price") * Decimal("0.19"), 2)')
        say("Available are " + ", ".join(NAMES) + f". {_accepting(default)}Type 'exit' to leave.")
        while True:
            say(f"[default: {default}] >>> " if default else ">>> ", ending="")
            code = _read_line(say) or default
            if code == "exit":
                sys.exit(1)
            if not code:
                continue
            try:
                return eval(code, {}, NAMES)  # pylint: disable=eval-used  # as Django does
            except Exception as error:  # pylint: disable=broad-exception-caught  # typed wrong
                say(f"{type(error).__name__}: {error}")


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


def _accepting(default: str) -> str:
    return f"Press Enter for {default}. " if default else ""


def _read_line(say: Any) -> str:
    try:
        return input()
    except (KeyboardInterrupt, EOFError):
        say("\nCancelled.")
        sys.exit(1)


def _no_value(model_name: str, field_name: str) -> NotInTwoPhases:
    return NotInTwoPhases(
        f"{model_name}.{field_name} is NOT NULL and has no default, so there is no value for "
        "existing rows. Nothing was written. Give it a default or a db_default, or run this "
        "without --noinput to be asked for a value."
    )
