"""The page at / as a person uses it, in a real browser: every language, and all that can go wrong on the way."""

import json
import os
import re
import signal
import subprocess
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener
from tests.languages.programs import LANGUAGES
from tests.server import COMMAND, Server, readable, until
from tests.server import LANGUAGES as ALWAYS

SAYS = {  # what each language's example prints
    "bash": "FizzBuzz", "c": "4181", "cpp": "a a block cell in", "go": "100", "java": "Planet[name=Mars, moons=2]",
    "javascript": "Earth, Mars, Neptune", "pypy": "78498 primes", "python": "15 primes below 50: 2 3 5",
    "rust": "15 primes below 50: [2, 3", "typescript": "Neptune has the most moons: 16",
}  # fmt: skip
SLEEP = "import time\nprint('begun', flush=True)\ntime.sleep(60)"
RESPONSIVE_S = 1.0
EVENTS = "text/event-stream"
RESULT = json.dumps({
    "success": True, "error": None, "stdout": "", "stderr": "", "exit_code": 0, "signal": None, "reason": "exited",
    "cpu_time": None, "wall_time": 1, "compile_time": 0, "memory_bytes": None, "cached": False,
})  # fmt: skip


def write(page: Page, language: str, code: str) -> None:
    page.select_option("#language", language)
    page.fill("#code", code)


def status(page: Page) -> Any:
    return expect(page.locator("#status"))


def shown(page: Page) -> str:
    return page.locator("#output").text_content() or ""


@pytest.mark.parametrize("language", [*ALWAYS, *LANGUAGES])
def test_a_newcomer_chooses_a_language_and_runs_its_example(page: Page, language: str) -> None:
    page.select_option("#language", language)
    page.click("#run")
    status(page).to_have_text("Finished", timeout=60_000)
    assert SAYS[language] in shown(page)
    assert re.search(
        r"Ran for\s*[\d.]+ (ms|s)\s*CPU\s*[\d.]+ (ms|s)\s*Memory\s*[\d.]+ (KB|MB)",
        page.locator("#figures").inner_text(),
    )
    assert page.locator("#layer .keyword").count() > 0, "the source has colours"


def test_what_a_program_is_given_reaches_it(page: Page) -> None:
    write(
        page, "python", "import sys\nprint(sys.argv[1:], input(), open('table.txt').read(), open('raw', 'rb').read())"
    )
    page.fill("#stdin", "é 😀\n")
    page.click("#more summary")
    page.fill("#args", "one\ntwo words")
    page.set_input_files("#files", [
        {"name": "table.txt", "mimeType": "text/plain", "buffer": b"12"},
        {"name": "raw", "mimeType": "", "buffer": b"\xff\x00"},
    ])  # fmt: skip
    expect(page.locator("#listed li")).to_have_count(2)
    page.click("#run")
    status(page).to_have_text("Finished")
    assert shown(page) == "['one', 'two words'] é 😀 12 b'\\xff\\x00'\n"
    page.click("#listed button >> nth=0")
    page.click("#run")
    status(page).to_have_text("Exited with code 1")
    assert "No such file or directory: 'table.txt'" in shown(page)


def test_output_is_shown_while_the_program_runs_and_stop_ends_it(page: Page, server: Server) -> None:
    write(page, "python", SLEEP)
    page.click("#run")
    expect(page.locator("#output")).to_have_text("begun\n")
    status(page).to_have_text("Running")
    expect(page.locator("#clock")).to_have_text(re.compile(r"\d"))
    page.click("#stop")
    status(page).to_have_text("Stopped")
    until(lambda: server.request("GET", "/health").json["queue"]["running"] == 0, 5, "the server has ended it")
    expect(page.locator("#run")).to_be_enabled()


@pytest.mark.parametrize(
    ("language", "code", "line", "message"),
    [
        ("typescript", "const fine = 1;\nconst six: number = 'six';\nconsole.log(fine, six);\n", 2, "error TS2322: Type 'string'"),
        ("rust", "fn main() {\n    let x: i32 = 1;\n    println!(\"{}\", y);\n}\n", 3, "error[E0425]: cannot find value `y`"),
        ("c", "int main(void) {\n    return x;\n}\n", 2, "error: 'x' undeclared"),
        ("cpp", "int main() {\n    return x;\n}\n", 2, "error: 'x' was not declared"),
        ("go", "package main\n\nfunc main() {\n\tx\n}\n", 4, "undefined: x"),
        ("java", "public class Main {\n    int x = y;\n}\n", 2, "error: cannot find symbol"),
        ("python", "def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
        ("javascript", "const x = 1;\n\nthrow new Error('no');\n", 3, "Error: no"),
        ("bash", "echo one\nnothing_here\nexit 1\n", 2, "nothing_here: command not found"),
    ],
)  # fmt: skip
def test_an_error_is_marked_in_its_line_and_a_click_leads_there(
    page: Page, language: str, code: str, line: int, message: str
) -> None:
    write(page, language, code)
    page.click("#run")
    status(page).to_have_class("bad", timeout=60_000)
    marked = page.locator("#layer > .error")
    expect(marked).to_have_count(1)
    told = re.sub("[\u2018\u2019]", "'", marked.get_attribute("data-message") or "")
    assert told.startswith(message), told
    assert (
        page.evaluate(
            "[...document.querySelector('#layer').children].findIndex(one => one.classList.contains('error'))"
        )
        == line - 1
    )
    page.focus("#stdin")
    page.click("#output .place >> nth=-1" if language == "python" else "#output .place >> nth=0")
    before = page.evaluate("code.value.slice(0, code.selectionStart)")
    assert before.count("\n") == line - 1
    expect(page.locator("#code")).to_be_focused()
    page.keyboard.press("Control+Home")
    page.keyboard.type("\n")
    assert (
        page.evaluate(
            "[...document.querySelector('#layer').children].findIndex(one => one.classList.contains('error'))"
        )
        == line
    )
    page.keyboard.press("Control+A")
    page.keyboard.type("x")
    expect(page.locator("#layer > .error")).to_have_count(0)


def test_an_error_is_marked_in_no_other_program_than_its_own(page: Page) -> None:
    write(page, "python", "print('begun', flush=True)\ninput()\nimport time; time.sleep(1)\n1 / 0\n")
    page.fill("#stdin", "go\n")
    page.click("#run")
    expect(page.locator("#output")).to_have_text("begun\n")
    page.select_option("#language", "rust")
    status(page).to_have_text("Exited with code 1")
    expect(page.locator("#output")).to_contain_text("ZeroDivisionError")
    expect(page.locator("#layer > .error, .place")).to_have_count(0)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise SystemExit(3)", "Exited with code 3"),
        ("import os; os.kill(os.getpid(), 11)", "Killed by SIGSEGV"),
        ("x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1", "Memory limit of 128 MB exceeded"),
        ("print('x' * (2 << 20))", "Output limit of 1 MB exceeded"),
    ],
)
def test_how_a_program_ended_is_told_in_words(page: Page, code: str, told: str) -> None:
    write(page, "python", code)
    page.click("#run")
    status(page).to_have_text(told)


@pytest.mark.parametrize("piece", ["'y\\n'", "'x' * 99", "'\\0' * 999", "'<b>&amp;\\n'", "'é😀'"])
def test_a_flood_leaves_the_browser_responsive_and_its_memory_bounded(page: Page, piece: str) -> None:
    """A megabyte, in pieces of any kind; no pause of the page is longer than RESPONSIVE_S."""
    write(page, "python", f"import sys\nwhile True:\n    sys.stdout.write({piece})")
    page.evaluate(
        "() => { window.pause = 0; let last = performance.now();"
        " setInterval(() => { const now = performance.now(); window.pause = Math.max(window.pause, now - last); last = now; }, 10); }"
    )
    page.click("#run")
    status(page).to_have_text("Output limit of 1 MB exceeded", timeout=30_000)
    expect(page.locator("#note")).to_contain_text("characters before this are not shown")
    pause_s = page.evaluate("window.pause") / 1000
    held = page.evaluate("document.querySelector('#output').textContent.length")
    assert page.evaluate(
        "[...document.querySelectorAll('#output span')].every((one) => one.textContent.isWellFormed())"
    )
    print(f"{piece}: longest pause {pause_s * 1000:.0f} ms, {held} characters held")
    assert held <= 128 * 1024
    assert pause_s < RESPONSIVE_S
    page.fill("#code", "print('still here')")
    page.click("#run")
    expect(page.locator("#output")).to_have_text("still here\n")


def test_what_a_program_writes_is_text_and_never_part_of_the_page(page: Page) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    write(page, "python", f"import sys\nprint({hostile!r})\nsys.exit({hostile!r})")
    page.click("#run")
    status(page).to_have_text("Exited with code 1")
    assert shown(page).count(hostile) == 2
    assert page.locator("img, #output script").count() == 0


def test_a_link_brings_the_program_back_and_runs_nothing(page: Page, opener: Opener, server: Server) -> None:
    write(page, "rust", '// é😀\nfn main() { println!("linked"); }\n')
    page.fill("#stdin", "one\n")
    page.click("#link")
    status(page).to_have_text(re.compile("^The link is"))
    fragment = page.evaluate("location.hash")
    assert re.fullmatch(r"#1\.[\w-]+", fragment)
    other = opener(server, fragment)
    expect(other.locator("#code")).to_have_value('// é😀\nfn main() { println!("linked"); }\n')
    expect(other.locator("#stdin")).to_have_value("one\n")
    expect(other.locator("#language")).to_have_value("rust")
    status(other).to_have_text("")
    other.click("#run")
    status(other).to_have_text("Finished")
    assert shown(other) == "linked\n"
    other.locator("#code").press("Control+End")
    other.keyboard.type("// mine")
    assert other.evaluate("location.hash") == "", "the link is another program's now"
    other.reload()
    expect(other.locator("#code")).to_have_value(re.compile("// mine$"))


def test_a_damaged_link_is_told(opener: Opener, server: Server) -> None:
    page = opener(server, "#1.AAAA")
    status(page).to_have_text("This link is damaged, or of another version")
    expect(page.locator("#code")).not_to_have_value("")


def test_each_language_keeps_what_was_written_in_it(page: Page) -> None:
    write(page, "python", "print('mine')")
    page.select_option("#language", "rust")
    expect(page.locator("#code")).to_have_value(re.compile("fn main"))
    page.select_option("#language", "python")
    expect(page.locator("#code")).to_have_value("print('mine')")
    page.reload()
    expect(page.locator("#code")).to_have_value("print('mine')")


@pytest.mark.parametrize("kept", ["{", "5", '{"byId": null}', '{"language": 5, "byId": {}}'])
def test_what_another_page_has_stored_does_not_matter(opener: Opener, server: Server, kept: str) -> None:
    page = opener(server)
    page.evaluate("(kept) => sessionStorage.setItem('cellblock drafts', kept)", kept)
    page.reload()
    expect(page.locator("#code")).not_to_have_value("")
    assert opener.complaints == []


def test_the_keyboard_alone_suffices(page: Page) -> None:
    """Tab indents and Enter keeps the indentation; Esc and Tab leave the editor; Ctrl+Enter runs and Esc stops."""
    page.select_option("#language", "python")
    page.focus("#code")
    page.keyboard.press("Control+A")
    page.keyboard.type("for n in range(2):\nprint(n)")
    expect(page.locator("#code")).to_have_value("for n in range(2):\n    print(n)")
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#code")).to_have_value("for n in range(2):\nprint(n)")
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+Enter")
    status(page).to_have_text("Finished")
    assert shown(page) == "0\n1\n"
    page.keyboard.press("Control+Z")
    expect(page.locator("#code")).to_have_value("for n in range(2):\nprint(n)")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.locator("#stdin")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#code")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(SLEEP)
    page.keyboard.press("Control+Enter")
    status(page).to_have_text("Running")
    page.keyboard.press("Escape")
    status(page).to_have_text("Stopped")


def test_lines_are_indented_and_taken_back_together(page: Page) -> None:
    write(page, "go", "a\n\nb\n")
    page.locator("#code").press("Control+A")
    page.keyboard.press("Tab")
    expect(page.locator("#code")).to_have_value("\ta\n\n\tb\n")
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#code")).to_have_value("a\n\nb\n")


def test_the_coloured_text_lies_exactly_under_the_typed_one(page: Page) -> None:
    """Same size, so that no line is beside its text, however long it is and however many there are."""
    write(page, "python", "\n".join(f"{'x' * (n * 3)}\té = 'äöü' # {n}" for n in range(120)) + "\n\n")
    sizes = page.evaluate(
        "() => { const layer = document.querySelector('#layer'), area = document.querySelector('#code');"
        " return [layer.children.length, area.scrollWidth <= area.clientWidth, area.scrollHeight <= area.clientHeight]; }"
    )
    assert sizes == [122, True, True]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(opener: Opener, server: Server, scheme: str) -> None:
    """Each colour of text has a contrast of 4.5 to 1 with what lies behind it (WCAG 2.2, 1.4.3)."""
    page = opener(server, color_scheme=scheme)
    page.select_option("#language", "typescript")
    page.fill("#code", "// comment\nconst six: number = 'six' + f(1);\nclass A {}\n")
    page.click("#run")
    status(page).to_have_class("bad")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 12
    assert {name: found for name, found in contrasts.items() if found < 4.5} == {}
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
    assert dark == (scheme == "dark")


CONTRASTS = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => channels(color).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if ((channels(color)[3] ?? 1) === 1) return color;
    }
  };
  const found = {};
  for (const element of document.querySelectorAll("body *")) {
    const says = [...element.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
    if (!says || !element.offsetParent || element.disabled || element.closest("option, textarea")) continue;
    const [one, other] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => b - a);
    const name = `${element.tagName} ${element.id} ${element.className} in ${element.closest("[id]")?.id}`;
    found[name] = Math.min(found[name] ?? 99, (one + 0.05) / (other + 0.05));
  }
  return found;
}"""


def demand_touchable(page: Page, name: str) -> None:
    box = page.locator(name).bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 360, (name, box)
    assert box["height"] >= 24 and box["width"] >= 24, (name, box)


def test_it_fits_a_phone(opener: Opener, server: Server) -> None:
    """360 pixels wide: nothing sticks out, what is touched is large enough (WCAG 2.2, 2.5.8), nothing is zoomed into."""
    page = opener(server, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, device_scale_factor=2)
    page.select_option("#language", "python")
    page.tap("#run")
    status(page).to_have_text("Finished")
    expect(page.locator("#output")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for name in ("#language", "#run", "#link", "header a", "#stdin"):
        demand_touchable(page, name)
    for name in ("#code", "#stdin", "#language"):
        assert page.locator(name).evaluate("one => parseFloat(getComputedStyle(one).fontSize)") >= 16, name
    assert "15 primes" in shown(page)
    write(page, "python", SLEEP)
    page.tap("#run")
    expect(page.locator("#output")).to_have_text("begun\n")
    demand_touchable(page, "#stop")
    page.tap("#stop")
    status(page).to_have_text("Stopped")
    assert opener.complaints == []


def test_a_lost_connection_is_told_and_the_program_can_be_run_again(opener: Opener) -> None:
    server = Server(languages=("python",))
    with server:
        page = opener(server)
        expect(page.locator("#code")).not_to_have_value("")
        page.fill("#code", "import time\nprint('begun', flush=True)\ntime.sleep(5)")
        page.click("#run")
        expect(page.locator("#output")).to_have_text("begun\n")
        server.http.send_signal(signal.SIGKILL)
        status(page).to_have_text("The connection was lost before the program's end was told")
        assert shown(page) == "begun\n", "what came is still there"
        server.wait_healthy()
        page.fill("#code", "print('once more')")
        page.click("#again")
        status(page).to_have_text("Finished")
        assert shown(page) == "once more\n"
    page.click("#run")
    status(page).to_have_text("The server cannot be reached")
    expect(page.locator("#again")).to_be_visible()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"body": "<html>Log in</html>", "content_type": "text/html"}, "What answered is not cellblock"),
        ({"body": "<html>", "content_type": "text/html", "status": 502}, "The server answered with status 502"),
        ({"body": '{"detail": "Busy"}', "status": 429, "headers": {"Retry-After": "7"}}, "Busy; try again in 7 s"),
        ({"body": '{"detail": "Busy"}', "status": 429, "headers": {"Retry-After": "-5"}}, "Busy"),
        ({"body": '{"detail": "Busy"}', "status": 429, "headers": {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}}, "Busy"),
        ({"body": f"event: news\ndata: {{}}\n\nevent: result\ndata: {RESULT}\n\n", "content_type": EVENTS}, "Finished"),
        ({"body": "event: result\ndata: {}\n\n", "content_type": EVENTS}, "What the server told cannot be shown"),
        ({"body": "event: stdout\ndata: {\n\n", "content_type": EVENTS}, "The connection was lost before"),
    ],
)  # fmt: skip
def test_whatever_answers_is_told_and_the_page_goes_on(
    opener: Opener, server: Server, answer: dict[str, Any], told: str
) -> None:
    """A proxy's own page, a newer server, half an answer."""
    page = opener(server)
    write(page, "python", "print(1)")
    page.route("**/execute", lambda route: route.fulfill(**answer))
    page.click("#run")
    status(page).to_have_text(re.compile(f"^{re.escape(told)}" + ("" if told.startswith(("What", "The")) else "$")))
    page.unroute("**/execute")
    page.click("#run")
    status(page).to_have_text("Finished")
    expect(page.locator("#output")).to_have_text("1\n")


def test_a_full_server_is_told_as_it_says_it(opener: Opener) -> None:
    with (
        Server(languages=("python",), runs_at_once=1, queue=0, client_share=1.0) as server,
        server.running("python", SLEEP),
    ):
        page = opener(server)
        expect(page.locator("#code")).not_to_have_value("")
        with server.running("python", SLEEP):  # of the slots for others
            page.click("#run")
            status(page).to_have_class("bad")
            expect(page.locator("#status")).to_contain_text("again")
            expect(page.locator("#again")).to_be_visible()


def test_a_wrong_request_is_told_in_the_servers_words(page: Page) -> None:
    write(page, "python", "import socket; socket.create_connection(('example.org', 80))")
    page.click("#run")
    expect(page.locator("#status")).to_contain_text("Potentially dangerous operation detected")
    page.fill("#code", "#" + "x" * 70_000)
    page.click("#run")
    status(page).to_have_text("Code too long (max 65536 bytes)")
    expect(page.locator("#again")).to_be_hidden()


def test_a_server_with_tokens_asks_for_one_and_it_is_kept_in_this_tab_alone(opener: Opener, tmp_path: Any) -> None:
    file = readable(tmp_path) / "tokens.toml"
    made = subprocess.run(
        [COMMAND, "token", "new", "--id", "me"], env={**os.environ, "CELLBLOCK_TOKENS_FILE": str(file)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    token = made.stdout.strip()
    with Server(languages=("python", "rust"), tokens_file=file) as server:
        page = opener(server)
        expect(page.locator("#access")).to_be_visible()
        expect(page.locator("#language option")).to_have_text(["python", "rust"])
        page.click("#run")
        status(page).to_have_text("This needs a token: Authorization: Bearer cb_…")
        page.fill("#token", "cb_" + "0" * 64)
        page.keyboard.press("Enter")
        status(page).to_have_text("There is no such token")
        page.fill("#token", token)
        page.keyboard.press("Enter")
        expect(page.locator("#access")).to_be_hidden()
        expect(page.locator("#code")).to_have_value(re.compile("primes"))
        page.click("#run")
        status(page).to_have_text("Finished")
        page.reload()
        expect(page.locator("#code")).to_have_value(re.compile("primes"))
        expect(page.locator("#access")).to_be_hidden()
        kept = page.evaluate("[JSON.stringify(localStorage), document.cookie, location.href].join()")
        assert token not in kept
        assert page.evaluate("sessionStorage.getItem('cellblock token')") == token
        page.click("#forget")
        expect(page.locator("#access")).to_be_visible()
        assert token not in page.evaluate("JSON.stringify(sessionStorage)")


def test_without_prism_all_works_in_one_colour(opener: Opener, server: Server) -> None:
    page = opener(server)
    page.route("**/prism.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.reload()
    expect(page.locator("#layer .keyword")).to_have_count(0)
    page.select_option("#language", "python")
    page.click("#run")
    status(page).to_have_text("Finished")
    assert opener.complaints == []


def test_typing_into_the_largest_source_does_not_lag(page: Page) -> None:
    source = "\n".join(f"value_{n} = {n} + len('{n}')  # a line" for n in range(1600))
    page.select_option("#language", "python")
    page.evaluate("(source) => { code.value = source; code.dispatchEvent(new Event('input')); }", source)
    page.locator("#code").press("Control+End")
    began_s = time.monotonic()
    page.keyboard.type("x" * 20)
    lag_ms = (time.monotonic() - began_s) / 20 * 1000
    print(f"a key in 64 KB takes {lag_ms:.0f} ms")
    assert lag_ms < 500


def test_all_of_the_page_is_small(opener: Opener, server: Server) -> None:
    page = opener(server)
    sizes = page.evaluate("performance.getEntries().map((one) => [one.name, one.transferSize ?? 0])")
    expect(page.locator("#code")).not_to_have_value("")
    sizes = page.evaluate("performance.getEntries().map((one) => [one.name, one.transferSize ?? 0])")
    total = sum(size for _, size in sizes)
    print(f"{total} bytes in {sum(size > 0 for _, size in sizes)} answers")
    assert 30_000 < total < 150_000
