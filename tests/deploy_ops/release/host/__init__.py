"""Tests of deploy_ops.release.host; the stories are in tests/drills/releases."""
