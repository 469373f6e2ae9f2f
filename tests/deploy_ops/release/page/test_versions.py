"""Which versions are at work, in which colour, from the facts alone."""

from deploy_ops.databases.values import ClientSession
from deploy_ops.release.page import host, versions
from deploy_ops.release.page.tone import Tone
from tests.deploy_ops.release.page import scene
from tests.deploy_ops.release.page.scene import NEW, OLD


def test_colours_and_share_of_a_canary():
    found = versions.versions(scene.version_facts())
    assert [(each.name, each.colour, each.role, each.share) for each in found.all] == [
        (OLD, "blue", "serves", 0),
        (NEW, "green", "canary", 5),
        ("1.4.1", "", "", 0),
    ]
    assert [each.sessions for each in found.all] == [2, 1, 0]
    assert found.tone is Tone.BUSY


def test_who_has_not_been_seen_of_late_is_not_at_work():
    facts = scene.version_facts(seen=[scene.seen(NEW, minutes=4)], sessions=[])
    assert {each.name: each.is_alive for each in versions.versions(facts).all} == {
        OLD: True,  # which answers
        NEW: False,
    }


def test_connection_alone_is_a_sign_of_life():
    facts = scene.version_facts(seen=[], sessions=[scene.session(NEW, 1)])
    assert {each.name for each in versions.versions(facts).all if each.is_alive} == {OLD, NEW}


def test_without_a_host_nothing_is_said_of_colours():
    found = versions.versions(scene.version_facts(host=host.Host())).all
    assert {(each.colour, each.role) for each in found} == {("", "")}


def test_sessions_of_a_version_with_a_long_name_are_its_own():
    name = "1.5.0+" + "b" * 60
    sessions = [ClientSession(1, f"gunicorn release={versions.release_tag(name)}", "", None)]
    (found,) = versions.versions(scene.version_facts(running=name, seen=[], sessions=sessions)).all
    assert (found.name, found.sessions) == (name, 1)
