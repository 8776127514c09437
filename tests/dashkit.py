"""A real dashboard process on a home, and a real browser in front of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright

from aiplat_lab.core.settings import Home

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"]
SETTLED = """() => {
  const all = [];
  const walk = root => root.querySelectorAll('*').forEach(node => { all.push(node); if (node.shadowRoot) walk(node.shadowRoot); });
  walk(document);
  const shown = all.filter(node => node.checkVisibility());
  return window.Bokeh && shown.some(node => node.matches('.figures, .call, .empty, .failure, .note'))
    && !shown.some(node => node.matches('.loading'));
}"""
"""True when no part of the page waits for its figures."""
CHARTS = """() => {
  const found = [];
  const walk = root => root.querySelectorAll('*').forEach(node => {
    if (node.matches('canvas.marks, svg.marks')) found.push(node);
    if (node.shadowRoot) walk(node.shadowRoot);
  });
  walk(document);
  return found.filter(node => node.checkVisibility() && node.getBoundingClientRect().width > 200).length;
}"""
"""How many charts are drawn."""


@dataclass
class Dashboard:
    """A dashboard process."""

    url: str
    """The page's address without the token."""
    token: str
    process: subprocess.Popen[str]
    outside: list[str] = field(default_factory=list)
    """Requests that a browser sent to another host."""
    broken: list[str] = field(default_factory=list)
    """Errors of the page and failed requests."""
    entered: bool = False

    def open(self, browser: Browser, *, width: int = 1360, height: int = 900) -> Page:
        """A page that was let in."""
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        page.on(
            "request",
            lambda request: self.outside.append(request.url) if urlsplit(request.url).hostname not in {"127.0.0.1", None, ""} else None,
        )
        page.on("pageerror", lambda error: self.broken.append(str(error)))
        page.on("response", lambda reply: self.broken.append(f"{reply.status} {reply.url}") if reply.status >= 400 else None)
        page.goto(f"{self.url}?token={self.token}")
        settled(page)
        return page


def settled(page: Page, *, timeout_s: float = 60) -> None:
    """Waits until every part of the page is there."""
    page.wait_for_function(SETTLED, timeout=timeout_s * 1000)


def charts(page: Page, count: int, *, timeout_s: float = 30) -> None:
    """Waits until that many charts are drawn."""
    page.wait_for_function(f"() => ({CHARTS})() >= {count}", timeout=timeout_s * 1000)


def launch(playwright: Playwright) -> Browser:
    """The machine's own Chromium."""
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)


@contextmanager
def dashboard(home: Home, *options: str) -> Iterator[Dashboard]:
    """A dashboard process of `home`, ended after."""
    command = [sys.executable, "-m", "aiplat_lab.dashboards", "serve", "--home", str(home.path), *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        said, found, began = "", None, time.monotonic()
        while found is None:
            line = process.stdout.readline() if process.stdout else ""
            said += line
            found = re.search(r"(http://\S+)\?token=(\S+)", said)
            if not line and found is None and (process.poll() is not None or time.monotonic() - began > 60):
                raise AssertionError(f"the dashboard did not start: {said}")
        yield Dashboard(found[1], found[2], process)
    finally:
        process.terminate()
        process.wait(timeout=20)
        if process.stdout:
            process.stdout.close()
