"""How Piston tells a problem: its sentence alone, whatever its status is."""

from aiohttp import web

from daemon.api import errors
from daemon.api.errors import ApiProblem

from .models import Refusal


def tell(problem: ApiProblem) -> web.Response:
    """The answer to a request that has had none yet."""
    text = Refusal.of(sentence(problem)).model_dump_json()
    headers = errors.headers(problem) | ({"Allow": "GET"} if problem.code == "method_not_allowed" else {})
    return web.Response(status=problem.status, text=text, content_type="application/json", headers=headers)


def sentence(problem: ApiProblem) -> str:
    """What is said of a whole body is said without naming it."""
    first = problem.errors[0] if problem.errors else None
    return first.message if first is not None and first.field == "body" else problem.detail
