"""Releases on one host: built side by side, two colours, and a link that says which one serves.

    python -m deploy_ops.release.host v1.2.3

Nothing here needs Django's settings: a release whose settings cannot be imported has to be refused,
not to stop the deployer. What needs them runs as a command of the release, in its virtualenv.
"""
