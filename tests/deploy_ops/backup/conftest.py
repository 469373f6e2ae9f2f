"""Backups taken in this process of a small real database, and a directory to hold them.

backup_dir  DEPLOY_OPS_BACKUP_DIR of the test, private
take        take(label=..., media=...) -> Backup, of `database` with table `trip` and three rows
"""

import pytest

from deploy_ops.backup.create import take_backup
from deploy_ops.lock import deploy_lock

TRIPS = [("Berlin", 120), ("Hamburg", 290), ("Bonn", 31)]


@pytest.fixture
def backup_dir(settings, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = tmp_path / "ops"
    settings.DEPLOY_OPS_BACKUP_DIR = tmp_path / "backups"
    settings.DEPLOY_OPS_BACKUP_DIR.mkdir(mode=0o700)
    return settings.DEPLOY_OPS_BACKUP_DIR


@pytest.fixture
def trips(database):
    key = "integer PRIMARY KEY" if database.vendor == "sqlite" else "serial PRIMARY KEY"
    database.execute(f"CREATE TABLE trip (id {key}, purpose text, km integer)")
    for trip in TRIPS:
        database.execute("INSERT INTO trip (purpose, km) VALUES (%s, %s)", trip)
    return database


@pytest.fixture
def take(backup_dir, trips, django_alias):
    def take(**options):
        with deploy_lock(django_alias, purpose="backup", shared=True) as lock:
            return take_backup(django_alias, lock=lock, **options)

    return take
