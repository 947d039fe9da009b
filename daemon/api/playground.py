"""GET / for browsers: a page that runs programs, made of the files in the folder playground beside this one.

The page is plain HTML, CSS and JavaScript, and loads nothing from elsewhere. Prism colours its sources where
./bootstrap has installed it; without it they have one colour, and all else works.
"""

import pathlib
import re

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from .kept import Kept, kept

FOLDER = pathlib.Path(__file__).with_name("playground")
EDITOR = "playground/prism.js"  # below the folder of the roots that ./bootstrap builds
PRISM = "prism.js"
HTML, SCRIPT, STYLE, ICON = "text/html", "text/javascript", "text/css", "image/svg+xml"
SCRIPTS = ("editor", "events", "files", "link", "output", "page", "places", "prism", "server", "words")
FILES = {"icon.svg": ICON, "page.css": STYLE, **{f"{name}.js": SCRIPT for name in SCRIPTS}}
NO_PRISM = b"// Sources have one colour here: ./bootstrap install brings Prism, which colours them.\n"
# It runs scripts and styles of this server alone, asks this server alone, is nobody's frame, and makes no text HTML.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
Q = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


class Playground:
    """All is read when it is made. `prism` is where ./bootstrap put it; `index` answers whoever prefers JSON."""

    def __init__(self, prism: pathlib.Path, index: Handler) -> None:
        self._index = index
        self._page = kept(
            (FOLDER / "index.html").read_bytes(), f"{HTML}; charset=utf-8", POLICY,
            **{hdrs.VARY: hdrs.ACCEPT, "Referrer-Policy": "no-referrer"},
        )  # fmt: skip
        self._files = {name: self._file(name, media_type, prism) for name, media_type in FILES.items()}

    def add_to(self, router: web.UrlDispatcher) -> None:
        """The routes."""
        router.add_get("/", self.index)
        router.add_get("/playground/{file}", self.file)

    async def index(self, request: web.Request) -> web.StreamResponse:
        """The page, or what `index` answers."""
        if prefers_page(", ".join(request.headers.getall(hdrs.ACCEPT, []))):
            return self._page.answer(request)
        answer = await self._index(request)
        answer.headers[hdrs.VARY] = hdrs.ACCEPT
        return answer

    async def file(self, request: web.Request) -> web.Response:
        """A file that the page names. Raises HTTPNotFound."""
        found = self._files.get(request.match_info["file"])
        if found is None:
            raise web.HTTPNotFound
        return found.answer(request)

    def _file(self, name: str, media_type: str, prism: pathlib.Path) -> Kept:
        path = prism if name == PRISM else FOLDER / name
        body = NO_PRISM if name == PRISM and not path.exists() else path.read_bytes()
        return kept(body, f"{media_type}; charset=utf-8")


def prefers_page(accept: str) -> bool:
    """Whether a client wants HTML rather than JSON (RFC 9110, 12.5.1). Who likes both alike gets JSON, as curl does."""
    return _weight(accept, HTML) > _weight(accept, "application/json")


def _weight(accept: str, media_type: str) -> float:
    """From 0 to 1: that of the most specific range which has this type, 0 where none has."""
    kind = media_type.partition("/")[0]
    weights = {}
    for part in accept.split(","):
        media_range, *parameters = (piece.strip(" \t").lower() for piece in part.split(";"))
        told = [found for parameter in parameters if (found := Q.fullmatch(parameter))]
        weights[media_range] = float(told[0][1]) if told else 1.0
    return next((weights[one] for one in (media_type, f"{kind}/*", "*/*") if one in weights), 0.0)
