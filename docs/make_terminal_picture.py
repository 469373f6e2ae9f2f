"""Makes docs/terminal.svg from what a terminal really shows: `python -m docs.make_terminal_picture`.

It does the tutorial up to the second recovery step in a scratch copy of the project and pictures that.
"""

import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.docs.console import ROOT, Command, environment, run_steps, scratch_copy, steps_of

COLUMNS = 104
COUNT = """python manage.py shell -v 0 -c 'print(Fahrt.objects.count(), "trips")'"""
MIGRATE = "python manage.py safe_migrate"
PICTURED = [Command(line, "") for line in (COUNT, MIGRATE, "echo $?", COUNT)]
THEME = TerminalTheme(
    (24, 26, 33),
    (222, 222, 222),
    [(24, 26, 33), (240, 113, 120), (140, 200, 110), (230, 190, 90)]
    + [(110, 170, 240), (200, 140, 230), (100, 200, 200), (222, 222, 222)],
)
# Without rich's own fonts, which a reader's browser would have to fetch from elsewhere.
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
    font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 16px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}"
    height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Run, picture, write."""
    console = Console(record=True, width=COLUMNS, file=tempfile.TemporaryFile("w"))
    for line, output in _session():
        console.print(Text.assemble(("$ ", "bold green"), (line, "bold")))
        console.print(output.rstrip(), highlight=False, markup=False)
    svg = console.export_svg(
        title="a release with a mistake in it", theme=THEME, code_format=SVG, unique_id="terminal"
    )
    (ROOT / "docs" / "terminal.svg").write_text(svg, encoding="utf-8")


def _session() -> list[tuple[str, str]]:
    """Commands and their output, in the state that the tutorial reaches in its fourth part."""
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").partition("\n## 5.")[0]
    prepared = [step for step in steps_of(page) if getattr(step, "line", "") != MIGRATE]
    with tempfile.TemporaryDirectory() as directory:
        clone = Path(directory, "kvb-admin")
        clone.mkdir()
        scratch_copy(clone)
        env = environment(clone)
        for command in ("safe_migrate", "demo_data"):
            subprocess.run(["python", "manage.py", command], cwd=clone, env=env, check=True)
        ran = run_steps([*prepared, *PICTURED], clone, env, {})
    return [(each.command.line, each.output) for each in ran[-len(PICTURED) :]]


if __name__ == "__main__":
    main()
