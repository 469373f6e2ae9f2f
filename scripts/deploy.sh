#!/bin/sh
# deploy.sh ...: the one at the root of the project (docs/reference/host.md).
exec "$(dirname "$0")/../deploy.sh" "$@"
