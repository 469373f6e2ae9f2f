"""The copy in STORAGES["backups"]: a directory, and a real S3 server that is cut off half-way."""

import os
import shutil
import socket
import threading
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config
from django.core.files.storage import storages
from moto.server import ThreadedMotoServer

from deploy_ops.backup.catalog import complete_backups, find_backup, find_entry, list_entries
from deploy_ops.backup.entry import Level
from deploy_ops.backup.opening import opened
from deploy_ops.backup.storage import Remote, remote_storage
from deploy_ops.backup.upkeep import delete_backup, pin, sweep_storage, unpin
from deploy_ops.backup.verification import verify_backup
from deploy_ops.errors import BackupCorrupt, BackupError, BackupFailed
from deploy_ops.ids import new_id

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
BUCKET = "kvb-backups"
CREDENTIALS = {"access_key": "AKIATEST", "secret_key": "only-for-tests"}


class CuttingProxy:
    """Passes TCP on, and drops every connection once so many bytes went up."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.bytes_left = float("inf")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._upstream)) as server:
            down = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
            down.start()
            self._pump(client, server, True)
            down.join()

    def _pump(self, source: socket.socket, target: socket.socket, is_upload: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.bytes_left -= len(data) if is_upload else 0
                if self.bytes_left <= 0:
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def s3_server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def proxy(s3_server):
    proxy = CuttingProxy(s3_server)
    yield proxy
    proxy.close()


@pytest.fixture
def bucket(s3_server):
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{s3_server}",
        region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["access_key"],
        aws_secret_access_key=CREDENTIALS["secret_key"],
    )
    with closing(client):
        client.create_bucket(Bucket=BUCKET)
        yield client
        for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=each["Key"])
        client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def use(settings):
    """Set STORAGES["backups"]."""

    def use(backend, **options):
        settings.STORAGES = settings.STORAGES | {
            "backups": {"BACKEND": backend, "OPTIONS": options}
        }
        return storages["backups"]

    return use


@pytest.fixture
def s3(use, proxy, bucket, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    storage = use(
        "storages.backends.s3.S3Storage",
        bucket_name=BUCKET,
        endpoint_url=f"http://127.0.0.1:{proxy.port}",
        region_name="us-east-1",
        location="nightly",
        max_memory_size=1024 * 1024,
        client_config=Config(retries={"max_attempts": 0}, read_timeout=5, connect_timeout=5),
        **CREDENTIALS,
    )
    yield storage
    storage.connection.meta.client.close()


@pytest.fixture
def directory(use, tmp_path):
    use("django.core.files.storage.FileSystemStorage", location=str(tmp_path / "copies"))
    return tmp_path / "copies"


@pytest.fixture(params=["s3", "directory"])
def storage(request):
    return request.getfixturevalue(request.param)


def keys(bucket):
    found = bucket.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return sorted(each["Key"] for each in found)


def test_a_backup_is_copied_whole(take, storage):
    backup = take()
    assert backup.is_copied and backup.is_here
    remote = remote_storage()
    assert remote.ids() == [backup.id]
    assert remote.read_manifest(backup.id) == (backup.directory / "manifest.json").read_bytes()
    [entry] = list_entries()
    assert entry.backup.is_copied


def test_in_s3_there_are_the_files_and_the_manifest(take, s3, bucket):
    backup = take()
    assert keys(bucket) == [
        f"nightly/{backup.id}/database/database.sqlite3",
        f"nightly/{backup.id}/manifest.json",
    ]


def test_a_backup_that_is_only_in_the_storage_is_listed_and_restored(
    take, storage, backup_dir, django_alias
):
    backup = take()
    content = (backup.directory / "database/database.sqlite3").read_bytes()
    shutil.rmtree(backup.directory)
    found = find_backup(django_alias, "latest")
    assert found.id == find_backup(django_alias, backup.id).id == backup.id
    assert not found.is_here
    with opened(found) as plain:
        assert (plain / "database/database.sqlite3").read_bytes() == content
    assert not plain.exists()
    verify_backup(found, Level.RESTORE, alias=django_alias)
    assert take().sequence == backup.sequence + 1


@pytest.mark.parametrize("bytes_left", [1, 3_000, 1_000_000])
def test_an_upload_cut_off_leaves_no_copy_and_the_backup_here(
    take, s3, proxy, bucket, trips, django_alias, bytes_left
):
    trips.execute("CREATE TABLE receipt (scan blob)")
    trips.execute("INSERT INTO receipt VALUES (randomblob(3000000))")
    proxy.bytes_left = bytes_left
    with pytest.raises(BackupFailed, match="is complete in .*, and its copy is not"):
        take()
    proxy.bytes_left = float("inf")
    assert not any(key.endswith("manifest.json") for key in keys(bucket))
    backup = find_backup(django_alias, "latest")
    assert backup.is_here and not backup.is_copied
    verify_backup(backup, Level.READ, alias=django_alias)


def test_a_copy_cut_off_before_its_manifest_is_not_listed_and_swept_a_day_later(
    take, s3, bucket, django_alias
):
    backup = take()
    bucket.delete_object(Bucket=BUCKET, Key=f"nightly/{backup.id}/manifest.json")
    shutil.rmtree(backup.directory)
    old = new_id(datetime.now(UTC) - timedelta(days=2))
    for name in ("database/database.sqlite3", "database/more"):
        bucket.put_object(Bucket=BUCKET, Key=f"nightly/{old}/{name}", Body=b"half")
    bucket.put_object(Bucket=BUCKET, Key="nightly/somebody/else.txt", Body=b"not ours")
    assert list_entries() == []
    assert sweep_storage() == [old]
    assert keys(bucket) == [
        f"nightly/{backup.id}/database/database.sqlite3",
        "nightly/somebody/else.txt",
    ]


def test_a_storage_that_changes_what_it_stores_is_found_before_the_manifest(
    take, directory, monkeypatch
):
    save = type(storages["backups"]).save

    def damage(self, name, content, **options):
        saved = save(self, name, content, **options)
        with open(self.path(saved), "r+b") as file:
            file.write(b"X")
        return saved

    monkeypatch.setattr(type(storages["backups"]), "save", damage)
    with pytest.raises(BackupFailed, match="does not have the SHA-256"):
        take()
    assert list(directory.rglob("manifest.json")) == []


def test_many_folders_and_manifests_are_asked_for_side_by_side(
    take, directory, monkeypatch, backup_dir
):
    """Each request waits for the network, so three wait for each other here, or fail."""
    taken = [take().id for _ in range(3)]
    shutil.rmtree(backup_dir)
    meet, asked = threading.Barrier(3, timeout=10), []

    def met(real):
        def ask(self, backup_id):
            asked.append(backup_id)
            meet.wait()
            return real(self, backup_id)

        return ask

    for name in ("names", "read_manifest"):
        monkeypatch.setattr(Remote, name, met(getattr(Remote, name)))
    assert [entry.id for entry in list_entries()] == taken
    assert sorted(asked) == sorted(taken * 2)


def test_a_storage_that_renames_is_an_error(directory, database):
    remote = remote_storage()
    remote.put_bytes("20260131T020000Z-0123abcd/x", b"one")
    with pytest.raises(BackupError, match="object named .*/x already, so .* as .*/x_"):
        remote.put_bytes("20260131T020000Z-0123abcd/x", b"two")
    assert [path.name for path in directory.rglob("*") if path.is_file()] == ["x"]


def test_damage_in_the_storage_is_found_at_level_hash(take, s3, bucket, django_alias):
    backup = take()
    key = f"nightly/{backup.id}/database/database.sqlite3"
    content = bytearray(bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    content[5000] ^= 1
    bucket.put_object(Bucket=BUCKET, Key=key, Body=bytes(content))
    with pytest.raises(BackupCorrupt, match="the copy of database/database.sqlite3 in the storage"):
        verify_backup(backup, Level.HASH, alias=django_alias)


def test_damage_in_the_storage_is_found_when_it_is_fetched(
    take, s3, bucket, backup_dir, django_alias
):
    backup = take()
    key = f"nightly/{backup.id}/database/database.sqlite3"
    bucket.put_object(Bucket=BUCKET, Key=key, Body=os.urandom(100))
    shutil.rmtree(backup.directory)
    with pytest.raises(BackupCorrupt, match="SHA-256"):
        with opened(find_backup(django_alias, backup.id)):
            pass
    assert [path.name for path in backup_dir.iterdir() if path.is_dir()] == []


def test_deleting_takes_the_manifest_first(take, directory, monkeypatch):
    backup, deleted = take(), []
    storage = type(storages["backups"])
    delete = storage.delete
    monkeypatch.setattr(
        storage, "delete", lambda self, name: (deleted.append(name), delete(self, name))
    )
    delete_backup(backup)
    assert deleted[0] == f"{backup.id}/manifest.json"
    assert os.listdir(directory) == [] and list_entries() == []


def test_deleting_in_s3_leaves_nothing(take, s3, bucket):
    delete_backup(take())
    assert keys(bucket) == []


def test_a_pin_holds_where_the_directory_is_lost(take, storage, django_alias):
    pin(take())
    backup = find_backup(django_alias, "latest")
    shutil.rmtree(backup.directory)
    backup = find_backup(django_alias, "latest")
    assert backup.is_pinned
    unpin(backup)
    assert not find_entry(backup.id).backup.is_pinned


def test_without_the_storage_what_is_here_can_be_used_and_nothing_is_pruned(
    take, s3, proxy, django_alias, caplog
):
    backup = take()
    proxy.bytes_left = 0
    assert find_backup(django_alias, "latest").id == backup.id
    assert find_backup(django_alias, backup.id).is_here
    assert "Backups that are only there are not listed" in caplog.text
    with pytest.raises(BackupError, match='STORAGES."backups".* could not list backups'):
        complete_backups(must_reach_storage=True)


def test_secrets_of_the_storage_are_not_in_its_errors(take, s3, proxy, caplog):
    proxy.bytes_left = 0
    with pytest.raises(BackupFailed) as caught:
        take()
    assert CREDENTIALS["secret_key"] not in f"{caught.value} {caught.value.__cause__} {caplog.text}"


def test_a_storage_that_does_not_exist_is_told_before(take, use, settings):
    settings.STORAGES = settings.STORAGES | {"backups": {"BACKEND": "no.such.Storage"}}
    with pytest.raises(BackupError, match='STORAGES."backups".* cannot be used'):
        take()


def test_no_storage_no_copy(take):
    assert remote_storage() is None
    assert not take().is_copied
