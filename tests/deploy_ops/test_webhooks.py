"""The same rule for the settings and for deploy/host.toml."""

from pathlib import Path

import pytest

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError
from deploy_ops.webhooks import find_fault

HOOK = "https://hooks.example.org/"


@pytest.mark.parametrize(
    ("urls", "secret", "said"),
    [
        ([], None, None),
        ([HOOK, "http://127.0.0.1:1/"], Path("/etc/secret"), None),
        ([HOOK], None, "notify wants secret_file too"),
        ([HOOK, "hooks.example.org"], Path("/etc/secret"), "notify wants addresses such as"),
        ([HOOK, 5], Path("/etc/secret"), "notify wants addresses such as"),
    ],
)
def test_fault(urls, secret, said):
    fault = find_fault(("notify", "secret_file"), urls, secret)
    assert fault is None if said is None else fault.startswith(said)


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        (["hooks.example.org"], "addresses such as"),
        ([HOOK], "_SECRET_FILE too"),
        (["ops@example.org"], "addresses such as"),
        (["mailto:ops"], "one address behind mailto:, not 'ops'"),
        (["mailto:ops@example.org,boss@example.org"], "one address behind mailto:"),
        (["mailto:ops@example.org?cc=eve@example.org"], "one address behind mailto:"),
    ],
)
def test_settings_that_are_refused(settings, urls, said):
    settings.DEPLOY_OPS_NOTIFY = urls
    with pytest.raises(ConfigurationError, match=f"^DEPLOY_OPS_NOTIFY wants .*{said}"):
        _ = conf.notify


@pytest.mark.parametrize("receivers", [[], ["mailto:ops@example.org"]])
def test_the_secret_is_of_webhooks_alone(settings, receivers):
    settings.DEPLOY_OPS_NOTIFY, settings.DEPLOY_OPS_NOTIFY_SECRET_FILE = receivers, 5
    assert conf.notify == tuple(receivers)
