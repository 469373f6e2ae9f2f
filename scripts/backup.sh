#!/bin/sh
# backup.sh [OPTIONS]: `manage.py backup` with the project's own Python (docs/reference/commands.md).
set -eu
cd "$(dirname "$0")/.."
for python in .venv/bin/python venv/bin/python python3; do
    command -v "$python" >/dev/null && exec "$python" manage.py backup "$@"
done
echo "There is no Python here: no .venv, no venv, no python3. No backup was made. Make one: make run" >&2
exit 1
