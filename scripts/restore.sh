#!/bin/sh
# restore.sh ID|latest [OPTIONS]: `manage.py restore` with the project's own Python
# (docs/reference/commands.md).
set -eu
cd "$(dirname "$0")/.."
for python in .venv/bin/python venv/bin/python python3; do
    command -v "$python" >/dev/null && exec "$python" manage.py restore "$@"
done
echo "There is no Python here: no .venv, no venv, no python3. Nothing was changed. Make one: make run" >&2
exit 1
