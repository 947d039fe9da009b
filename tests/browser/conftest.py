"""Chromium, and a server that has every language there is. `./bootstrap test-browser` installs what drives the one."""

import collections.abc
import contextlib
import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

from tests.languages.programs import LANGUAGES
from tests.server import LANGUAGES as ALWAYS
from tests.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

if importlib.util.find_spec("playwright") is None:  # the other commands collect all of tests/
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def server() -> collections.abc.Iterator[Server]:
    with Server(languages=[*ALWAYS, *LANGUAGES]) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> "collections.abc.Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield launched
        launched.close()


class Opener:
    """`opener(server, …)` shows its page in a new window, whose complaints `complaints` holds."""

    def __init__(self, browser: "Browser", stack: contextlib.ExitStack) -> None:
        self._browser, self._stack = browser, stack
        self.complaints: list[str] = []

    def __call__(self, server: Server, fragment: str = "", **options: Any) -> "Page":
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = self._browser.new_context(**options)
        self._stack.callback(context.close)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)
        page.goto(f"http://127.0.0.1:{server.port}/{fragment}")
        return page

    def _hear(self, said: "ConsoleMessage") -> None:
        """What the browser says of an answer with a status of 400 and more is no complaint."""
        if said.type in ("error", "warning") and not said.text.startswith("Failed to load resource"):
            self.complaints.append(said.text)


@pytest.fixture
def opener(browser: "Browser") -> collections.abc.Iterator[Opener]:
    with contextlib.ExitStack() as stack:
        yield Opener(browser, stack)


@pytest.fixture
def page(opener: Opener, server: Server) -> "collections.abc.Iterator[Page]":
    """In a window of its own; at the end the browser has nothing to complain of, the policy's breaches included."""
    shown = opener(server)
    yield shown
    assert opener.complaints == []
