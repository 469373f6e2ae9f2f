"""Tests of deploy_ops.release."""
