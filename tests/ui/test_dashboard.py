"""The cost dashboard as a tab of JupyterLab, behind the server's own authentication."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request

import pytest
from labdriver import Lab
from playwright.sync_api import expect

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}
FRAME = ".aiplat-Dashboard iframe"
HERE = f"document.querySelector('{FRAME}').contentWindow.location.href"


def test_the_dashboard_opens_in_one_tab_and_follows_the_theme(lab: Lab) -> None:
    lab.run("spent.ipynb", "%%ai echo\nwhat the dashboard shows")
    lab.execute("aiplat:open-dashboard", since="7d")
    page = lab.page.frame_locator(FRAME)
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=90_000)
    expect(page.locator("body")).to_contain_text("echo", timeout=30_000)
    assert re.search(r"/aiplat-dashboard/cost\?since=7d&theme=light$", lab.page.evaluate(HERE))
    lab.page.wait_for_timeout(1500)
    lab.shot("dashboard-light")

    lab.execute("launcher:create")
    lab.execute("aiplat:open-dashboard")
    expect(lab.page.locator(".aiplat-Dashboard")).to_have_count(1)
    expect(lab.page.locator(FRAME)).to_be_visible()

    lab.theme("dark")
    lab.page.wait_for_function(f"{HERE}.includes('theme=dark')", timeout=20_000)
    assert "since=7d" in lab.page.evaluate(HERE)
    expect(page.locator("body")).to_contain_text("echo", timeout=30_000)
    lab.page.wait_for_timeout(1500)
    lab.shot("dashboard-dark")
    lab.theme("light")


@pytest.mark.parametrize("origin", ["http://evil.example", "http://aiplat-dashboard"])
def test_a_foreign_page_gets_no_connection_even_with_the_users_cookies(lab: Lab, server: str, origin: str) -> None:
    cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in lab.page.context.cookies())
    assert cookies
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=20)
    connection.request("GET", "/aiplat-dashboard/cost/ws", headers={**UPGRADE, "Cookie": cookies, "Origin": origin})
    refused = connection.getresponse()
    assert (refused.status, b"Cross origin" in refused.read()) == (403, True)
    connection.close()


@pytest.mark.parametrize("path", ["aiplat-dashboard/", "aiplat-dashboard/cost", "aiplat-dashboard/static/js/bokeh.min.js"])
def test_no_part_of_the_dashboard_is_open_to_who_is_not_signed_in(server: str, path: str) -> None:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener(Stay).open(f"{server}/{path}", timeout=20)
    assert refused.value.code in (302, 403)
