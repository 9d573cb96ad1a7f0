"""A headless Chromium on the MLflow UI that `regsearch ui` serves: opens pages, waits for what they show.

with served(home) as address, chromium(Path("pictures")) as browser:
    browser.open(f"{address}/#/experiments")
    browser.see("text in the page")
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

PATIENCE = 20.0
START_SECONDS = 90.0
OUTPUT = Path(__file__).resolve().parents[1] / "output" / "browse"
"""Where the pictures are kept."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests may run as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1900,1100",
)
KNOWN = (
    r"ajax-api/2\.0/mlflow/users/current .*404",  # asked of every server, also of one without users
    r"ResizeObserver loop completed with undelivered notifications",  # a chart or table that is laid out twice
)
"""What MLflow 3.17's own pages complain of."""


class Browser:
    """One tab."""

    def __init__(self, driver: Chrome, pictures: Path) -> None:
        self.driver, self.pictures = driver, pictures

    def open(self, address: str) -> None:
        self.driver.get("about:blank")  # a new `#...` alone would not load the page anew
        self.driver.get(address)

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        """What `condition` gives once it gives something; elements that are drawn anew meanwhile are asked again."""
        from selenium.common.exceptions import WebDriverException

        until = time.monotonic() + PATIENCE
        while True:
            with suppress(WebDriverException):
                found = condition()
                if found:
                    return found
            if time.monotonic() > until:
                self.shoot("failed")
                pytest.fail(f"not seen within {PATIENCE:.0f} s: {what}; {self.pictures}/failed.png shows the page")
            time.sleep(0.05)

    def all(self, where: str) -> list[WebElement]:
        """The elements that a CSS selector, or an XPath that begins with `//`, finds."""
        return self.driver.find_elements("xpath" if where.startswith("//") else "css selector", where)

    def texts(self, css: str) -> list[str]:
        return [element.text for element in self.all(css)]

    def text(self) -> str:
        """All that the page shows, its lines joined by blanks."""
        return " ".join(self.driver.find_element("css selector", "body").text.split())

    def see(self, text: str) -> None:
        """Wait until the page shows this text."""
        self.wait(text, lambda: text in self.text())

    def find(self, css: str, text: str = "") -> WebElement:
        """The first element that shows this text, once there is one."""
        found: WebElement = self.wait(
            f"{css} {text}", lambda: next((e for e in self.all(css) if e.is_displayed() and text in e.text), None)
        )
        return found

    def click(self, css: str, text: str = "") -> None:
        self.wait(f"click on {css} {text}", lambda: self.find(css, text).click() or True)

    def shoot(self, name: str) -> None:
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))

    def complaints(self) -> list[str]:
        """What the console says is severe since it was last asked, MLflow's own known troubles left out."""
        said: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        severe = [entry["message"] for entry in said if entry["level"] == "SEVERE"]
        return [message for message in severe if not any(re.search(known, message) for known in KNOWN)]


@contextmanager
def chromium(pictures: Path) -> Iterator[Browser]:
    """A browser; the test fails where Chromium or its driver is missing."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    control = shutil.which("chromedriver")
    if program is None or control is None:
        pytest.fail("Chromium or its driver is missing; Debian, Ubuntu: apt install chromium chromium-driver")
    pictures.mkdir(parents=True, exist_ok=True)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(control))
    try:
        yield Browser(driver, pictures)
    finally:
        driver.quit()
        print(f"pictures: {pictures}")


@contextmanager
def served(home: Path) -> Iterator[str]:
    """The address of `regsearch ui` on the store of `home`."""
    from regsearch.tracking.mlflow.ui import HOST, free_port

    port = free_port(0)
    command = [sys.executable, "-m", "regsearch.cli", "ui", "--port", str(port)]
    address = f"http://{HOST}:{port}"
    with subprocess.Popen(
        command, env={**os.environ, "REGSEARCH_HOME": str(home)}, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until = time.monotonic() + START_SECONDS
            while not _answers(address):
                assert process.poll() is None and time.monotonic() < until, "the UI did not come up"
                time.sleep(0.1)
            yield address
        finally:
            process.kill()  # the server ends with it
    until = time.monotonic() + 20
    while _answers(address) and time.monotonic() < until:
        time.sleep(0.1)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
