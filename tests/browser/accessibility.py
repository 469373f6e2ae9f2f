"""What axe-core finds wrong with a page: https://github.com/dequelabs/axe-core"""

from pathlib import Path

from tests.browser.chromium import Browser

AXE = Path(__file__).parent / "axe" / "axe.min.js"
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
    found => done(found.violations.flatMap(each => each.nodes.map(
        node => `${each.id}: ${node.target.join(" ")}: ${node.failureSummary}`))),
    error => done([String(error)]));
"""


def violations(browser: Browser) -> list[str]:
    """Every rule that an element breaks, of all that axe knows."""
    # By the protocol: a script in the page would need the permission of its policy.
    browser.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})
    return browser.driver.execute_async_script(RUN)


def problems(browser: Browser) -> list[str]:
    """The same on a desktop and a phone, light and dark; and whether one has to scroll sideways."""
    found = []
    for width in (browser.desktop, browser.phone):
        width()
        if browser.is_wider_than_its_window():
            found.append(f"wider than its window ({width.__name__})")
        for scheme in (browser.in_light, browser.in_dark):
            scheme()
            found += violations(browser)
    return found
