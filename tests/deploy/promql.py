"""Which metrics an expression of PromQL asks for."""

import re

STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
NOT_A_METRIC = re.compile(
    r"#.*|\{[^}]*\}|\[[^\]]*\]"  # comments, matchers of labels, ranges
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
)
NAME = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])")
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


def metrics_of(expression: str) -> set[str]:
    """The names in it that are neither functions nor words nor labels."""
    without = NOT_A_METRIC.sub(" ", STRING.sub('""', expression))
    return {name for name in NAME.findall(without) if name.lower() not in WORDS}
