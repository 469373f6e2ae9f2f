"""Debian's Chromium, driven as a person uses it: by the words on the page."""

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
# Nothing but the page under test is to be asked for, and no other profile is to be touched.
ARGUMENTS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-proxy-server"
    " --disable-background-networking --disable-component-update --disable-sync --no-first-run"
    " --disable-default-apps --force-prefers-reduced-motion --lang=de"
).split()
SECONDS_FOR_A_PAGE = 30
NEXT_PAGE_IS_THERE = "return !window.wasThereBefore && document.readyState === 'complete'"
SCREENSHOTS = Path(settings.BASE_DIR) / "var" / "screenshots"
# CSS pixels: a laptop, and the width of a common phone.
DESKTOP, PHONE = (1280, 900), (390, 844)


def what_is_missing() -> str:
    """The reason why no browser can be started here, or nothing."""
    absent = [program for program in (CHROMIUM, DRIVER) if not shutil.which(program)]
    cure = "apt-get install chromium chromium-driver"
    return f"{' and '.join(absent)} is missing: {cure}" if absent else ""


class Browser:
    """One window; `base` is the address of the server under test."""

    def __init__(self, profile: Path) -> None:
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        environment = os.environ | {"HOME": str(profile)}
        self.driver = Chrome(options, ChromeService(DRIVER, env=environment))
        self.driver.set_page_load_timeout(SECONDS_FOR_A_PAGE)
        self.base = ""
        self.desktop()

    def forget(self) -> None:
        """Become another person's browser."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.driver.get_log("browser")
        self.desktop()
        self.in_light()

    def close(self) -> None:
        self.driver.quit()

    def desktop(self) -> None:
        self._emulate(*DESKTOP, mobile=False)

    def phone(self) -> None:
        self._emulate(*PHONE, mobile=True)

    def in_dark(self) -> None:
        self._prefer("dark")

    def in_light(self) -> None:
        self._prefer("light")

    def open(self, path: str) -> None:
        self.driver.get(self.base + path)

    def log_in(self, name: str, at: str = "/admin/login/") -> None:
        """By the form of the administration or of the application; the password is the name."""
        self.open(at)
        self.driver.find_element(By.NAME, "username").send_keys(name)
        with self.next_page():
            self.driver.find_element(By.NAME, "password").send_keys(name, Keys.ENTER)

    @contextmanager
    def next_page(self) -> Iterator[None]:
        """Wait until what is done inside has brought another page."""
        self.driver.execute_script("window.wasThereBefore = true")
        yield
        # Whoever asks while the window changes its page can be told off by the driver
        # ("Node with given id does not belong to the document"): it is asked again.
        wait = WebDriverWait(
            self.driver,
            SECONDS_FOR_A_PAGE,
            poll_frequency=0.05,
            ignored_exceptions=[WebDriverException],
        )
        wait.until(lambda driver: driver.execute_script(NEXT_PAGE_IS_THERE))

    @property
    def text(self) -> str:
        """What the page says."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    @property
    def main(self) -> str:
        """What the page says beside its frame."""
        return self.driver.find_element(By.TAG_NAME, "main").text

    @property
    def path(self) -> str:
        return self.driver.current_url.removeprefix(self.base)

    def has(self, word: str) -> bool:
        """Is there a link or button that says so."""
        return bool(self._clickable(word))

    def press(self, word: str, within: str = "") -> None:
        """Click the link or button that says `word` (in the row that has the text `within`)."""
        with self.next_page():
            self._clickable(word, within)[0].click()

    def field(self, label: str) -> WebElement:
        """The field with that label."""
        found = self.driver.find_element(
            By.XPATH, f"//label[contains(normalize-space(), '{label}')]"
        )
        return self.driver.find_element(By.ID, found.get_attribute("for") or "")

    def fill(self, label: str, value: str) -> None:
        field = self.field(label)
        field.clear()
        field.send_keys(value)

    def screenshots(self, name: str) -> None:
        """The whole page as a desktop, a phone and a dark desktop show it."""
        for suffix, width in (("desktop", self.desktop), ("phone", self.phone)):
            width()
            self._screenshot(f"{name}-{suffix}")
        self.desktop()
        self.in_dark()
        self._screenshot(f"{name}-dark")
        self.in_light()

    def is_wider_than_its_window(self) -> bool:
        """Would a person have to scroll sideways."""
        return bool(
            self.driver.execute_script(
                "return document.documentElement.scrollWidth > window.innerWidth"
            )
        )

    def complaints(self) -> list[str]:
        """Errors of the console since the last call: scripts, refused or missing files."""
        entries = self.driver.get_log("browser")
        errors = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
        # The browser asks for the icon by itself, and the administration has none.
        return [message for message in errors if "/favicon.ico" not in message]

    def _clickable(self, word: str, within: str = "") -> list[WebElement]:
        row = (
            f"//*[self::tr or self::li or self::article][contains(., '{within}')]" if within else ""
        )
        return self.driver.find_elements(
            By.XPATH, f"{row}//*[self::a or self::button][normalize-space(text()[1])='{word}']"
        )

    def _emulate(self, width: int, height: int, mobile: bool) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def _prefer(self, scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        # The administration's colours fade into each other.
        for_animations = "return Promise.all(document.getAnimations().map(a => a.finished)).then(0)"
        self.driver.execute_script(for_animations)

    def _screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        taken = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True}
        )
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))
