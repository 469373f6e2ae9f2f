"""Commands in files that others start, read by the project's own parsers."""

from collections.abc import Sequence

from django.core.management import get_commands, load_command_class


def parse_command(argv: Sequence[str]) -> str:
    """Parse what follows `manage.py`; its name. CommandError for options that it does not know."""
    name, *options = argv[argv.index("manage.py") + 1 :]
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    parser.parse_args(options)
    return name
