"""What opens pages as a reader would: a server of a folder, a browser, and notes of all that goes wrong."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a folder, while it is served to this computer."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium of the system, or the one that CNNLAB_CHROMIUM names, or Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = os.environ.get("CNNLAB_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            pytest.fail(
                "No Chromium to open the site with. Install one (Debian: apt install chromium; anywhere: "
                f"python -m playwright install chromium) or name it in CNNLAB_CHROMIUM.\n{error}"
            )
        yield browser
        browser.close()


class Reader:
    """A page in a fresh browser, and what went wrong while it was open."""

    def __init__(self, browser: Browser, root: str, **options: object) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.context.set_default_timeout(60_000)
        self.root = root
        self.troubles: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda m: m.type in {"error", "warning"} and self.troubles.append(m.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._request)
        self.page.on("response", lambda r: r.status >= 400 and self.troubles.append(f"{r.status}: {r.url}"))

    def _request(self, request: object) -> None:
        if not request.url.startswith((self.root, "data:", "blob:")):
            self.troubles.append(f"request off the site: {request.url}")

    def _failed(self, request: object) -> None:
        # A browser gives up on what it was still loading when the reader goes on to the next page.
        if request.failure != "net::ERR_ABORTED":
            self.troubles.append(f"{request.failure}: {request.url}")

    def open(self, path: str) -> Page:
        self.page.goto(self.root + path, wait_until="load")
        return self.page
