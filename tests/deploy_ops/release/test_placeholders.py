"""Secrets that are none are named, and never shown."""

import pytest
from django.db import connections

from deploy_ops.release.placeholders import placeholder_findings

GOOD = "vN3kQ8-pZt5yLw0aXe7RbUj2mHc9sGdF4iKoWnT6qYxB1lPz_dsA"


@pytest.fixture
def faults(settings):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = GOOD, []

    def faults(**given):
        for name, value in given.items():
            setattr(settings, name, value)
        found = list(placeholder_findings())
        assert {each.id for each in found} <= {"deploy_ops.R014"}
        return [each.msg for each in found]

    return faults


def test_good_ones(faults):
    assert faults() == []
    assert faults(SECRET_KEY_FALLBACKS=[GOOD[::-1]], PARTNER_API_TOKEN="Vu7Wq2Ls9Kd4") == []
    assert faults(TOKEN_URL_NAME="change-me", SESSION_TOKEN=None) == []


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("django-insecure-" + GOOD, "startproject has generated it"),
        ("change-me-" + GOOD, "what a template has"),
        ("<" + "geheim" * 10 + ">", "what a template has"),
        ("your-very-own-secret-key-of-more-than-fifty-characters", "what a template has"),
        (GOOD[:49], "fewer than 50 characters"),
        (b"abab" * 20, "fewer than 5 different characters"),
    ],
)
def test_a_key_that_is_none(faults, key, fault):
    [told] = faults(SECRET_KEY=key)
    assert told.startswith("SECRET_KEY is no secret") and fault in told
    assert str(key) not in told
    [told] = faults(SECRET_KEY=GOOD, SECRET_KEY_FALLBACKS=[GOOD, key])
    assert "SECRET_KEY_FALLBACKS[1]" in told


@pytest.fixture
def with_password(faults, monkeypatch):
    def with_password(password):
        database = {"USER": "kvb", "NAME": "kvb_db", "PASSWORD": password}
        monkeypatch.setattr(connections, "settings", {"default": database})
        return faults()

    return with_password


@pytest.mark.parametrize("password", ["kvb", "KVB_DB", "postgres", "Password", "changeme-now"])
def test_a_password_that_is_guessed(with_password, password):
    [told] = with_password(password)
    name = 'The password in DATABASES["default"] is no secret'
    assert told.startswith(name)
    assert password not in told.removeprefix(name)


@pytest.mark.parametrize("password", ["", None, "x8Kq-52vPbn"])
def test_a_password_that_is_none_of_them(with_password, password):
    assert with_password(password) == []


def test_any_other_secret_with_the_text_of_a_template(faults):
    [told] = faults(SMS_API_TOKEN="changeme")
    assert told.startswith("SMS_API_TOKEN is no secret")
    assert "changeme" not in told


def test_the_password_of_a_mailer(faults):
    smtp = {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}
    mailers = {"default": smtp, "bulk": {**smtp, "OPTIONS": {"password": "changeme"}}}
    [told] = faults(MAILERS=mailers)
    assert told.startswith('The password in MAILERS["bulk"] is no secret')
    assert "changeme" not in told
