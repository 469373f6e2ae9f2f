"""The operations page, asked without a browser: who gets it, with which policy, and how soon."""

import re
import threading
import time

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from deploy_ops.release.page.reading import DEADLINE
from deploy_ops.release.page.sections import SECTIONS
from tests.deploy_ops.release.page import scene

PAGE = "/admin/deploy_ops/operations/"
SECTION = {section.name: section for section in SECTIONS}
# SQLite in memory, which tests use, has neither a place for a lock nor anything beside it.
NOT_IN_MEMORY = {"work", "kept"}
NONCE = re.compile(r'nonce="([\w-]{20,})"')


@pytest.fixture(autouse=True)
def state(settings, tmp_path, transactional_db):
    tmp_path.chmod(0o700)
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path)
    settings.DEPLOY_OPS_BACKUP_DIR = str(tmp_path / "backups")
    with scene.patience(SECTIONS):
        yield tmp_path


@pytest.fixture
def client_of():
    def _client_of(*permissions: str, **fields) -> Client:
        user = User.objects.create_user("wanda", **{"is_staff": True} | fields)
        found = Permission.objects.filter(codename__in=permissions)
        user.user_permissions.set(found)
        client = Client()
        client.force_login(user)
        return client

    return _client_of


@pytest.fixture
def watcher(client_of) -> Client:
    return client_of("view_operations")


def problems(text: str) -> set[str]:
    """Names of the sections that say that they could not be read, and could elsewhere."""
    cards = re.findall(r'<section class="card" id="operations-(\w+)"(.*?)</section>', text, re.S)
    assert {name for name, _ in cards} == set(SECTION)
    unread = {name for name, content in cards if "Folgendes konnte nicht gelesen werden" in content}
    return unread - NOT_IN_MEMORY


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}?sections"])
def test_stranger_is_sent_to_the_login_and_learns_nothing(client, path):
    response = client.get(path)
    assert response.status_code == 302 and response["Location"].startswith("/admin/login/")
    assert response.content == b""


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}?sections"])
@pytest.mark.parametrize(
    ("permissions", "fields", "status"),
    [
        (("view_operations",), {}, 200),
        ((), {"is_superuser": True}, 200),
        ((), {}, 403),
        (("view_flagstate", "view_contractrow"), {}, 403),
        (("view_operations",), {"is_staff": False}, 302),
    ],
)
def test_only_staff_with_the_permission(client_of, path, permissions, fields, status):
    response = client_of(*permissions, **fields).get(path)
    assert response.status_code == status
    assert ("operations-work" in response.text) is (status == 200)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_is_only_read(watcher, method):
    response = getattr(watcher, method)(PAGE)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("page", ["add/", "1/", "1/change/", "1/delete/", "1/history/"])
def test_there_are_no_pages_of_rows(watcher, page):
    assert watcher.get(PAGE + page).status_code == 404


def test_policy_allows_what_has_this_answers_nonce_and_static_files(watcher):
    answers = [watcher.get(PAGE), watcher.get(PAGE)]
    nonces = [set(NONCE.findall(answer.text)) for answer in answers]
    assert [len(found) for found in nonces] == [1, 1] and nonces[0] != nonces[1]
    policy = answers[0]["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    (nonce,) = nonces[0]
    assert f"script-src 'nonce-{nonce}' http://testserver/static/;" in policy
    assert f"connect-src http://testserver{PAGE};" in policy
    assert "unsafe" not in policy and "'self'" not in policy.replace("form-action 'self'", "")
    assert not re.search(r"<script(?![^>]* src=)|<style|\bstyle=|\bon\w+=", answers[0].text)


def test_policy_names_the_host_of_the_static_files(watcher, settings):
    settings.STATIC_URL = "https://static.example.org/kvb/"
    policy = watcher.get(PAGE)["Content-Security-Policy"]
    assert "img-src https://static.example.org/kvb/ data:;" in policy


def test_other_pages_keep_their_own_policy_and_nothing_is_stored(watcher):
    assert "nonce" not in watcher.get("/admin/")["Content-Security-Policy"]
    assert "no-store" in watcher.get(PAGE)["Cache-Control"]


def test_sections_come_alone(watcher):
    text = watcher.get(f"{PAGE}?sections").text
    assert problems(text) == set()
    assert "<html" not in text and "<script" not in text


def test_section_that_fails_harms_no_other(watcher):
    def fail():
        raise OSError("password=geheim is wrong")

    with scene.reading(SECTION["flags"], fail):
        text = watcher.get(PAGE).text
    assert problems(text) == {"flags"}
    assert "geheim" not in text


def test_section_that_hangs_holds_nobody_up_for_long_and_has_one_thread(watcher):
    answers, begun = threading.Event(), []

    def hang():
        begun.append(threading.current_thread())
        answers.wait(60)

    late = SECTION["backups"]
    with scene.patience([late], DEADLINE), scene.reading(late, hang):
        started = time.monotonic()
        texts = [watcher.get(PAGE).text for _ in range(3)]
        took = time.monotonic() - started
        answers.set()
        begun[0].join()
    assert [problems(text) for text in texts] == [{"backups"}] * 3
    assert "no answer within 2 s" in texts[0]
    assert took < 6  # the first one waits, the others know
    assert len(begun) == 1


def test_directories_that_cannot_be_read_are_said_and_not_made(watcher, settings, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path / "absent")
    settings.DEPLOY_OPS_BACKUP_DIR = str(tmp_path / "absent" / "backups")
    assert problems(watcher.get(PAGE).text) == set()
    assert not (tmp_path / "absent").exists()
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    settings.DEPLOY_OPS_BACKUP_DIR = str(open_to_all)
    SECTION["backups"].probe.forget()
    text = watcher.get(PAGE).text
    assert "backups" in problems(text) and "is open to other users" in text


def test_what_files_say_is_text_and_no_markup(watcher, state):
    scene.record_event(
        state,
        scene.event(
            scene.Kind.DEPLOYMENT,
            scene.Outcome.FAILED,
            "<script>alert(1)</script>",
            scene.NOW,
            message="<img src=x onerror=alert(1)>",
        ),
    )
    text = watcher.get(PAGE).text
    assert "&lt;script&gt;alert(1)" in text and "&lt;img src=x" in text
    assert "<script>alert" not in text and "<img" not in text
