"""Flags that are on for a part of the people, those that are forced, and those to tidy up."""

from collections.abc import Iterable
from dataclasses import dataclass

from deploy_ops.flags.admin import texts
from deploy_ops.flags.overview import FlagOverview, flag_overviews
from deploy_ops.release.page.tone import Tone


@dataclass(frozen=True, slots=True)
class Shown:
    """A flag; its texts are made where they are read, in the language of the reader."""

    flag: FlagOverview

    @property
    def state_text(self) -> str:
        """On, off, or for how many."""
        return texts.state_text(self.flag.state) if self.flag.state else texts.without_effect()

    @property
    def rollout(self) -> list[str]:
        """The rules, one text each; users by their number."""
        return texts.rollout_texts(self.flag.rules, {}) if self.flag.rules else []

    @property
    def forced_by(self) -> str:
        """The variable that forces it."""
        return texts.forcing_variable(self.flag) if self.flag.is_forced else ""


@dataclass(frozen=True, slots=True)
class Flags:
    """What is in rollout or forced, each once; `stale` are names; `number` is that of all flags."""

    in_rollout: tuple[Shown, ...]
    forced: tuple[Shown, ...]
    stale: tuple[str, ...]
    number: int

    @property
    def tone(self) -> Tone:
        """A rollout goes on until somebody ends it."""
        if self.forced:
            return Tone.WARN
        return Tone.BUSY if self.in_rollout else Tone.OK


def read() -> Flags:
    """Ask for all flags."""
    return flags(flag_overviews())


def flags(found: Iterable[FlagOverview]) -> Flags:
    """Sort them out: whose answer depends on who asks, or when, is in rollout."""
    all_flags = list(found)
    return Flags(
        in_rollout=tuple(Shown(flag) for flag in all_flags if flag.is_on is None),
        forced=tuple(Shown(flag) for flag in all_flags if flag.is_forced),
        stale=tuple(flag.name for flag in all_flags if flag.is_stale),
        number=len(all_flags),
    )
