"""Two releases collect into one directory: the old one's pages stay as they are."""

import pytest
from django.core.files.base import ContentFile

from deploy_ops.release import static
from deploy_ops.release.static import ReleaseStaticFilesStorage


@pytest.fixture
def collect(tmp_path, monkeypatch):
    def collect(version, content):
        monkeypatch.setattr(static, "code_version", lambda: version)
        storage = ReleaseStaticFilesStorage(location=tmp_path, base_url="/static/")
        storage.delete("app.css")
        storage.save("app.css", ContentFile(content))
        assert [e for _, _, e in storage.post_process({"app.css": (storage, "app.css")})] == [True]
        return storage

    return collect


def test_each_release_has_its_own_manifest(collect, tmp_path, settings, monkeypatch):
    settings.DEBUG = False
    old = collect("1.0.0", b"a { color: red }").url("app.css")
    new = collect("1.1.0", b"a { color: blue }").url("app.css")
    assert old != new
    names = {path.name for path in tmp_path.iterdir()}
    assert {"staticfiles-1.0.0.json", "staticfiles-1.1.0.json"} <= names
    assert old.removeprefix("/static/") in names

    monkeypatch.setattr(static, "code_version", lambda: "1.0.0")
    restarted = ReleaseStaticFilesStorage(location=tmp_path, base_url="/static/")
    assert restarted.url("app.css") == old


def test_a_version_cannot_leave_the_directory(monkeypatch, tmp_path):
    monkeypatch.setattr(static, "code_version", lambda: "../../etc/x")
    assert "/" not in ReleaseStaticFilesStorage(location=tmp_path).manifest_name
