"""The Dockerfile's instructions by stage, as far as ours is written: no heredocs, no escapes."""

import re
from dataclasses import dataclass

from tests.project.runner import REPOSITORY

DOCKERFILE = REPOSITORY / "Dockerfile"


@dataclass(frozen=True)
class Stage:
    """One FROM, and (instruction, what follows it) up to the next."""

    base: str
    name: str
    instructions: list[tuple[str, str]]

    def all(self, instruction: str) -> list[str]:
        """What follows each instruction of this kind."""
        return [words for each, words in self.instructions if each == instruction]


def stages() -> list[Stage]:
    """All stages, in their order; what stands before the first FROM is none."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.M)
    lines = (line.partition(" ") for line in text.replace("\\\n", " ").splitlines() if line)
    found: list[Stage] = []
    for instruction, _, words in lines:
        if instruction == "FROM":
            base, _, name = words.partition(" AS ")
            found.append(Stage(base, name, []))
        elif found:
            found[-1].instructions.append((instruction, " ".join(words.split())))
    return found
