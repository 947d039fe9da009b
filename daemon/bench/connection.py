"""A keep-alive HTTP/1.1 connection that costs the client little: what is measured is the server."""

import json
import socket
import ssl
import urllib.parse
from typing import Any

import httptools

TIMEOUT_S = 120.0
READ_BYTES = 256 << 10


class Connection:
    """Not for two threads."""

    def __init__(self, url: str) -> None:
        """Raises OSError."""
        parsed = urllib.parse.urlsplit(url)
        self._host, self._base = parsed.netloc, parsed.path.rstrip("/")
        is_secure = parsed.scheme == "https"
        address = parsed.hostname or "", parsed.port or (443 if is_secure else 80)
        self._socket = socket.create_connection(address, TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_secure:
            self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=parsed.hostname)

    def close(self) -> None:
        """Nothing may be sent after that."""
        self._socket.close()

    def request(self, method: str, path: str, fields: Any = None) -> tuple[int, bytes]:
        """Status and body. Raises OSError, httptools.HttpParserError."""
        body = b"" if fields is None else json.dumps(fields).encode()
        head = (
            f"{method} {self._base}{path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            data = self._socket.recv(READ_BYTES)
            if not data:
                raise ConnectionResetError("closed in the middle of an answer")
            parser.feed_data(data)
        return parser.get_status_code(), b"".join(answer.parts)


class _Answer:
    """Hears the parser."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.complete = False

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        self.complete = True
