"""The operations page as somebody watches a release on it."""

from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from deploy_ops.audit import Kind, Outcome, record_event
from deploy_ops.flags.change import Source, change_flag, stored_rules
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.testing import forget_flags
from deploy_ops.lock_file import Holder
from deploy_ops.migrate.journal import read_runs
from deploy_ops.release.page import work
from deploy_ops.release.page.sections import SECTIONS
from tests.browser.accessibility import problems, violations
from tests.deploy_ops.release.page import scene

PAGE = "/admin/deploy_ops/operations/"
SECTION = {section.name: section for section in SECTIONS}


@pytest.fixture(autouse=True)
def state(settings, tmp_path, transactional_db):
    """The files of a release on its way, below a directory of the test."""
    tmp_path.chmod(0o700)
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path)
    settings.DEPLOY_OPS_BACKUP_DIR = str(tmp_path / "backups")
    scene.write_state(tmp_path)
    forget_flags()
    with scene.patience(SECTIONS):
        yield tmp_path
    forget_flags()


@pytest.fixture
def release_on_its_way(transactional_db):
    """What only PostgreSQL has, and a run whose process is at work."""
    _, revision = stored_rules("csv_export")
    rules = Rules(percentage=Decimal(5), staff=True)
    change_flag(
        "csv_export",
        rules,
        expected_revision=revision,
        by="anna",
        source=Source.CLI,
        reason="Erst einmal wenige",
    )
    holder = Holder("safe_migrate", 4711, "web1", datetime.now(UTC))

    def at_work():
        runs = [record for record in read_runs() if not record.is_resolved]
        return work.work([holder], runs, [])

    with ExitStack() as stack:
        for name, read in (scene.PRETENDED | {"work": at_work}).items():
            stack.enter_context(scene.reading(SECTION[name], read))
        yield


@pytest.fixture
def watcher(browser, person):
    person("wanda", "view_operations", staff=True)
    browser.log_in("wanda")
    browser.open(PAGE)
    yield browser
    appear(browser, hidden=True)
    # What it has asked is answered before the database of the test goes.
    until(browser, lambda: not browser.driver.execute_script("return window.asking"))
    browser.driver.get("about:blank")


def card(browser, name: str):
    return browser.driver.find_element(By.ID, f"operations-{name}")


def until(browser, is_so):
    # A section may be replaced between finding and reading it.
    gone = [StaleElementReferenceException]
    wait = WebDriverWait(browser.driver, 20, poll_frequency=0.05, ignored_exceptions=gone)
    wait.until(lambda _: is_so())


def hurry(browser, seconds: float = 0.2) -> None:
    """Load the page with another wait between two looks, and count what it is asking."""
    source = (
        "window.asking = 0; const ask = window.fetch;"
        "window.fetch = (...given) => {"
        "window.asking += 1; return ask(...given).finally(() => {window.asking -= 1;});};"
        "document.addEventListener('readystatechange', () => {"
        "const page = document.getElementById('operations');"
        f"if (page) page.dataset.seconds = '{seconds}';}});"
    )
    command = "Page.addScriptToEvaluateOnNewDocument"
    script = browser.driver.execute_cdp_cmd(command, {"source": source})
    browser.driver.refresh()
    browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


@pytest.mark.usefixtures("release_on_its_way")
@pytest.mark.parametrize("language", ["de", "en"])
def test_page_is_accessible_fits_its_window_and_loads_nothing_foreign(watcher, settings, language):
    settings.LANGUAGE_CODE = language
    watcher.driver.refresh()
    watcher.screenshots(f"operations-{language}")
    assert ("Versionen" if language == "de" else "Versions") in watcher.main
    assert problems(watcher) == []
    assert watcher.complaints() == []


def test_rules_of_accessibility_are_really_asked(watcher):
    watcher.driver.execute_script(
        "document.documentElement.lang = '';"
        "document.querySelector('#operations h2').style.color = '#eee';"
    )
    found = {violation.partition(":")[0] for violation in violations(watcher)}
    assert {"html-has-lang", "color-contrast"} <= found


def test_what_changes_is_put_in_and_the_rest_stays(watcher, state):
    hurry(watcher)
    kept = card(watcher, "kept")
    roll_back(state)
    until(watcher, lambda: "Rollback 1.4.2" in card(watcher, "timeline").text)
    assert kept.is_displayed()  # the same element: one that was replaced is stale
    assert watcher.complaints() == []


@pytest.mark.parametrize(
    "change", ["getElementById('operations-kept').remove()", "querySelector('.card').id = 'other'"]
)
def test_release_with_other_sections_may_answer(watcher, change):
    hurry(watcher)
    watcher.driver.execute_script(f"document.{change}")
    ids = "return [...document.querySelectorAll('section[id]')].map(each => each.id.slice(11))"
    until(watcher, lambda: watcher.driver.execute_script(ids) == list(SECTION))
    assert watcher.driver.find_element(By.ID, "operations-trouble").text == ""


def test_it_rests_while_nobody_sees_it_and_asks_at_once_when_somebody_does(watcher, state):
    hurry(watcher, seconds=1000)
    appear(watcher, hidden=True)
    assert watcher.driver.execute_script("return window.waits") == []
    roll_back(state)
    appear(watcher, hidden=False)
    until(watcher, lambda: "Rollback" in card(watcher, "timeline").text)
    until(watcher, lambda: watcher.driver.execute_script("return window.waits") == [1_000_000])


def test_pause_holds_it_and_goes_on_at_once(watcher, state):
    hurry(watcher, seconds=1000)
    watch_timers(watcher)
    button = watcher.driver.find_element(By.ID, "operations-pause")
    button.click()
    assert button.text == "Weiter"
    assert watcher.driver.execute_script("return window.waits") == []
    roll_back(state)
    button.click()
    until(watcher, lambda: "Rollback" in card(watcher, "timeline").text)
    assert button.text == "Anhalten"


def test_it_tells_that_the_server_does_not_answer_and_goes_on_when_it_does(watcher):
    hurry(watcher)
    trouble = watcher.driver.find_element(By.ID, "operations-trouble")
    watcher.driver.execute_cdp_cmd("Network.enable", {})
    watcher.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*?sections*"]})
    until(watcher, lambda: "Der Server antwortet nicht." in trouble.text)
    assert "Deployment 1.4.2" in card(watcher, "timeline").text
    assert violations(watcher) == []
    watcher.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    until(watcher, lambda: trouble.text == "")


def test_it_tells_whose_session_has_ended(watcher):
    hurry(watcher)
    watcher.driver.delete_all_cookies()
    trouble = watcher.driver.find_element(By.ID, "operations-trouble")
    until(watcher, lambda: "Sie sind nicht mehr angemeldet" in trouble.text)


def test_without_the_permission_there_is_no_page_and_no_link(browser, person):
    person("gast", "view_flagstate", staff=True)
    browser.log_in("gast")
    assert not browser.has("Betrieb")
    browser.open(PAGE)
    assert "403" in browser.text


def roll_back(state) -> None:
    """Note a rollback, and let nobody know what was read a moment before."""
    record_event(state, scene.event(Kind.ROLLBACK, Outcome.DONE, "1.4.2", scene.NOW, seconds=0.4))
    SECTION["timeline"].probe.forget()


def watch_timers(browser) -> None:
    """Let the page note how long it means to wait from now on."""
    browser.driver.execute_script(
        "window.waits = []; const set = window.setTimeout;"
        "window.setTimeout = (work, wait) => {window.waits.push(wait); return set(work, wait);}"
    )


def appear(browser, hidden: bool) -> None:
    """Say to the page that it is hidden, or seen again, as the browser does."""
    if hidden:
        watch_timers(browser)
    browser.driver.execute_script(
        "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'));",
        hidden,
    )
