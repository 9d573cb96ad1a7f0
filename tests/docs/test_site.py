"""The documentation as a site: built without a warning, searched and looked at in a real Chromium."""

from __future__ import annotations

import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.browse.browser import Browser, chromium

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "tests" / "output" / "docs"
PHONE = 390
# A question, and the pages of which one must be among the first three that answer it.
QUESTIONS = (
    ("weight decay", {"reference/regularizers/decay.html"}),
    ("mlflow server", {"howto/servers.html"}),
    ("own model", {"howto/own-model.html", "start/own-model.html"}),
)
LOOKED_AT = (
    "index.html",
    "reference/study-file/search.html",
    "reference/study-file/space.html",
    "reference/commands/study-start.html",
    "reference/regularizers/penalties.html",
    "reference/api/regsearch.html",
    "reference/api/testing.html",
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, on this machine alone, at a port that was free."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def build(folder: Path) -> None:
    """Build the site as `make site` does."""
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        str(ROOT / "docs"),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def first_three(browser: Browser, address: str, question: str) -> list[str]:
    """The pages that a search names first; several places of one page count once."""
    browser.open(f"{address}/search.html?q={quote(question)}")
    browser.see("Search finished")
    links = [str(link.get_attribute("href")) for link in browser.all("#search-results ul.search > li > a")]
    pages = (link.removeprefix(f"{address}/").partition("?")[0].partition("#")[0] for link in links)
    return list(dict.fromkeys(pages))[:3]


@pytest.mark.slow
@pytest.mark.timeout(600)  # half a minute on an idle machine
def test_it_is_built_without_a_warning_its_search_answers_and_it_fits_a_phone(tmp_path: Path) -> None:
    build(tmp_path)
    for file in (tmp_path / "reference" / "api").glob("*.html"):
        assert "Type<span" not in file.read_text(encoding="utf-8"), f"{file.name}: a docstring is torn at a colon"
    with served(tmp_path) as address, chromium(PICTURES) as browser:
        for question, right in QUESTIONS:
            found = first_three(browser, address, question)
            assert right & set(found), f"{question}: {found}"
        for page in LOOKED_AT:
            size = {"width": PHONE, "height": 900, "deviceScaleFactor": 1, "mobile": True}
            browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.open(f"{address}/{page}")
            browser.shoot(page.replace("/", "-").removesuffix(".html"))
            assert browser.driver.execute_script("return document.documentElement.scrollWidth") == PHONE, page
        assert browser.complaints() == []
