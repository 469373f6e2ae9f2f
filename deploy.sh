#!/usr/bin/env bash
# deploy.sh v1.2.3: from the tag to the requests (docs/howto/release-on-a-host.md; --help lists the rest).
set -euo pipefail
cd "$(dirname "$0")"
# The deployer's own virtualenv: of this checkout, which serves nothing.
make --silent .venv/.runs
exec .venv/bin/python -m deploy_ops.release.host "$@"
