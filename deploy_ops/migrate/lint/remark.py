"""A finding in the making that is not about the size of a table."""

from dataclasses import dataclass

from deploy_ops.migrate.lint.finding import Finding, Place


@dataclass(frozen=True, slots=True)
class Remark:
    """What is wrong, how bad it is, and what to write instead."""

    rule: str
    level: int
    msg: str
    cure: str = ""
    table: str = ""

    def at(self, place: Place) -> Finding:
        """The finding at its place."""
        return Finding(
            self.rule, self.level, self.msg, place=place, cure=self.cure, table=self.table
        )
