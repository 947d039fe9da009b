"""GET / over a real socket: the page for browsers, JSON for everybody else, and the files of the page."""

import pytest

from daemon.api.playground import FILES
from tests.server import Server

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """Nothing runs here."""


def test_browsers_get_a_page_that_may_load_nothing_from_elsewhere(cellblock: Server) -> None:
    page = cellblock.request("GET", "/", headers=BROWSER)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>cellblock</title>" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert page.headers["Vary"] == "Accept, Origin"
    assert page.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/html"])
def test_machines_get_json(cellblock: Server, accept: str | None) -> None:
    answer = cellblock.request("GET", "/", headers={} if accept is None else {"Accept": accept})
    assert answer.headers.get_content_type() == "application/json"
    assert "POST /execute" in answer.json["endpoints"]
    assert answer.headers["Vary"] == "Accept, Origin"


def test_who_has_the_page_is_not_sent_it_again(cellblock: Server) -> None:
    etag = cellblock.request("GET", "/", headers=BROWSER).headers["ETag"]
    again = cellblock.request("GET", "/", headers={**BROWSER, "If-None-Match": etag})
    assert (again.status, again.text, again.headers["ETag"]) == (304, "", etag)
    assert again.headers["Vary"] == "Accept, Origin"


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_page_is_sent_and_kept(cellblock: Server, name: str) -> None:
    answer = cellblock.request("GET", f"/playground/{name}")
    assert (answer.status, answer.headers.get_content_type()) == (200, FILES[name])
    assert answer.headers["Cache-Control"] == "no-cache"
    assert (
        cellblock.request("GET", f"/playground/{name}", headers={"If-None-Match": answer.headers["ETag"]}).status == 304
    )


@pytest.mark.parametrize("name", ["index.html", "package.json", "none.js", "..%2Froutes.py", "%2e%2e/routes.py"])
def test_no_other_file_is_sent(cellblock: Server, name: str) -> None:
    assert cellblock.request("GET", f"/playground/{name}").status == 404
