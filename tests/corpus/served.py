"""Asks a running server, and tells how the program ended there."""

import http.client
import json
import time
import urllib.parse
from typing import Any

from tests.corpus.compare import MB, Ending, Kind, Limits

PATIENCE_S = 60.0  # for a server that restarts or is full


class Server:
    """One server by its address, such as http://127.0.0.1:8000. Threads may share it."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 80

    def _request(self, method: str, path: str, fields: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=150)
        try:
            body = None if fields is None else json.dumps(fields)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def limits(self, wall_s: float) -> Limits:
        """What a run gets that asks for nothing but a time; the same for all languages."""
        _, body = self._request("GET", "/languages")
        default = body["languages"][0]["default_limits"]
        return Limits(wall_s, default["memory_mb"] * MB, default["output_bytes"])

    def run(self, language: str, code: str, wall_s: float) -> Ending:
        """Post the program; a server that is full or away is asked again for a minute."""
        deadline = time.monotonic() + PATIENCE_S
        fields = {"language": language, "code": code, "timeout": wall_s}
        while True:
            try:
                status, body = self._request("POST", "/execute", fields)
            except (OSError, http.client.HTTPException, ValueError) as error:
                status, body = 503, {"detail": repr(error)}
            if status not in (429, 503) or time.monotonic() > deadline:
                return ending(status, body)
            time.sleep(1)


def ending(status: int, body: dict[str, Any]) -> Ending:
    """What an answer says."""
    if status != 200:
        kinds = {"dangerous_operation": Kind.REFUSED, "code_too_long": Kind.TOO_LONG}
        return Ending(kinds.get(body.get("code", ""), Kind.NO_ANSWER), detail=f"{status} {body.get('detail')}")
    kind = Kind(body["reason"])
    return Ending(
        kind,
        body["exit_code"] if kind is Kind.EXITED else None,
        body["signal"] if kind is Kind.SIGNAL else None,
        body["stdout"],
        body["stderr"],
        body["wall_time"],
        body["memory_bytes"],
        body["error"] or "",
    )
