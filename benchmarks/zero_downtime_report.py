"""What became of changes under load, as tables and goals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.load import LATE_SECONDS, Code, Served
from benchmarks.pairs import Ratio
from benchmarks.zero_downtime_changes import CHANGES, OURS
from benchmarks.zero_downtime_tools import Ended, Tool

CONTROL = "control"
LATE_WHEN_BLOCKED = 250
FIRST_TRIES = 3
HEAD = [
    "change",
    "tool",
    "before, s",
    "after, s",
    "longest ms",
    "late",
    "errors of old code",
    "errors of new code",
    "lock timeouts",
    "ended",
]


@dataclass(frozen=True)
class Outcome:
    """One change by one tool, or the control."""

    served: Served
    codes: tuple[Code, Code]
    ended: Sequence[Ended]
    lock_timeouts: int = 0
    deadlocks: int = 0

    def late(self, control: "Outcome") -> int:
        """How many statements came more than 100 ms later than the latest of the control."""
        return self.served.late(control.served.longest_ms / 1000 + LATE_SECONDS)

    def errors(self) -> list[int]:
        """Of old code and of new code."""
        return [self.served.errors_of(code) for code in self.codes]

    def cells(self, control: "Outcome") -> list[str]:
        """Of the table, behind the names of change and tool."""
        seconds = [f"{each.seconds:.1f}" for each in self.ended] + [""] * (2 - len(self.ended))
        longest, late = f"{self.served.longest_ms:.0f}", self.late(control)
        return [*seconds, longest, *map(str, [late, *self.errors(), self.lock_timeouts]), self.end]

    @property
    def end(self) -> str:
        """Exit code and error where something went wrong."""
        wrong = [f"exit {each.code}: {each.error}" for each in self.ended if each.code]
        return "; ".join([*wrong, f"{self.deadlocks} deadlocks"] if self.deadlocks else wrong)


def rows(
    outcomes: Mapping[str, Mapping[str, Outcome]], found: Mapping[str, Tool]
) -> Iterator[list[str]]:
    """Cells below HEAD."""
    for name, by_tool in outcomes.items():
        for tool, outcome in by_tool.items():
            title = "control: nothing" if tool == CONTROL else found[tool].title
            yield [CHANGES[name].title, title, *outcome.cells(by_tool[CONTROL])]


def goals(outcomes: Mapping[str, Mapping[str, Outcome]]) -> Iterator[Ratio]:
    """What ours should reach; a command that failed counts as an error."""
    for name, by_tool in outcomes.items():
        if OURS in by_tool:
            ours, change = by_tool[OURS], CHANGES[name]
            late, tries = ours.late(by_tool[CONTROL]), ours.lock_timeouts + 1
            if change.granted or not change.vacuumed:
                most = LATE_WHEN_BLOCKED if change.blocked else 0
                yield Ratio(f"{change.title}: late statements", [float(late)], most)
            failed = sum(ours.errors()) + sum(each.code != 0 for each in ours.ended)
            yield Ratio(f"{change.title}: errors", [float(failed)], 0)
            if change.vacuumed:
                yield Ratio(f"{change.title}: tries", [float(tries)], FIRST_TRIES)


def tell(change: str, tool: str, outcome: Outcome, control: Outcome) -> None:
    """Say it at once, with what the server said."""
    told = zip(HEAD[2:], outcome.cells(control), strict=True)
    print(f"{change}, {tool}: {', '.join(f'{head} {cell}' for head, cell in told if cell)}")
    for (code, message), number in outcome.served.errors.items():
        print(f"    {code}: {number} x {message}")
    for each in outcome.ended:
        if each.code:
            print("    " + "\n    ".join(each.output.strip().splitlines()[-8:]), flush=True)
