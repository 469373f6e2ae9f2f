"""settings_prod in a process of its own, as systemd or Docker starts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEY = "vN3kQ8-pZt5yLw0aXe7RbUj2mHc9sGdF4iKoWnT6qYxB1lPz"
KEY += "tail-of-it"
PASSWORD = "Zq4v8Lw2xN"
GOOD = {
    "SECRET_KEY": KEY,
    "DATABASE_URL": f"postgresql://kvb:{PASSWORD}@localhost/kvb",
    "ALLOWED_HOSTS": "kvb.example.org",
}


def django(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """manage.py with nothing in the environment but what is given and what programs need."""
    needed = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "kvb.app.settings_prod"}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=needed | {name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(**changes: str) -> str:
    """What is printed when the settings refuse; no value given may be in it."""
    result = django("check", **(GOOD | changes))
    output = result.stdout + result.stderr
    assert result.returncode != 0
    for secret in (KEY, PASSWORD, changes.get("SECRET_KEY"), changes.get("DATABASE_URL")):
        assert not secret or secret not in output
    assert "Nothing was started." in output
    return output


def test_with_real_secrets_the_deployment_check_is_clean():
    result = django("check", "--deploy", "--fail-level", "WARNING", **GOOD)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("name", GOOD)
def test_each_missing_variable_is_named(name):
    assert f"{name} is missing. Nothing was started. Set {name}, or {name}_FILE" in refusal(
        **{name: ""}
    )


@pytest.mark.parametrize(
    "key",
    [
        "very-secret-key",
        "change-me" * 8,
        "CHANGEME-aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5zA7bC9dE1f",
        "django-insecure-aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5zA7bC9dE1f",
    ],
)
def test_placeholder_as_secret_key_is_refused(key):
    assert "SECRET_KEY is a placeholder" in refusal(SECRET_KEY=key)


@pytest.mark.parametrize("key", ["x7Kq9Lm2Vb4", "ab" * 40])
def test_short_or_monotonous_secret_key_is_refused(key):
    assert "SECRET_KEY is too short" in refusal(SECRET_KEY=key)


def test_key_of_the_development_settings_is_refused():
    from kvb.app import settings_dev

    assert "SECRET_KEY is a placeholder" in refusal(SECRET_KEY=settings_dev.SECRET_KEY)


@pytest.mark.parametrize(
    "url", ["postgresql://user:pass@localhost/db", "postgresql://kvb:change%2Dme@localhost/kvb"]
)
def test_placeholder_as_database_password_is_refused(url):
    assert "DATABASE_URL has a placeholder as password" in refusal(DATABASE_URL=url)


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://kvb:{PASSWORD}@localhost/kvb",
        f"kvb:{PASSWORD}@localhost",
        f"postgresql://kvb:a#{PASSWORD}:x@localhost:port/kvb",
    ],
)
def test_unusable_database_address_is_refused_without_showing_it(url):
    assert "DATABASE_URL is not the address of a PostgreSQL or SQLite database" in refusal(
        DATABASE_URL=url
    )


def test_secret_comes_from_a_file(tmp_path):
    secret = tmp_path / "secret_key"
    secret.write_text(f"{KEY}\n")
    result = django("check", **(GOOD | {"SECRET_KEY": "", "SECRET_KEY_FILE": str(secret)}))
    assert result.returncode == 0, result.stderr


def test_secret_file_that_is_not_there_is_named(tmp_path):
    path = str(tmp_path / "nothing")
    output = refusal(SECRET_KEY="", SECRET_KEY_FILE=path)
    assert f"SECRET_KEY can't be read from SECRET_KEY_FILE={path}" in output


def test_secret_given_twice_is_refused(tmp_path):
    assert "SECRET_KEY is given twice" in refusal(SECRET_KEY_FILE=str(tmp_path / "other"))


def test_backups_also_go_to_s3_where_a_bucket_is_named():
    code = "from django.core.files.storage import storages; print(storages['backups'].bucket_name)"
    result = django("shell", "-v0", "-c", code, **GOOD, BACKUP_S3_BUCKET="kvb-backups")
    assert result.stdout.strip() == "kvb-backups", result.stderr
