"""A real nginx under test: the files of nginx/ with ports, paths and nodes of its own, and clients that speak TLS to it."""

import contextlib
import http.client
import os
import pathlib
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
from typing import Any

from tests.server import PREFIX, Answer, until

FILES = pathlib.Path(__file__).parents[1] / "nginx"
NAME = "cellblock.example"
START_S = 10.0
UPSTREAM = "unix:/run/cellblock/http.sock"
LISTEN_TLS = "    listen 443 ssl;\n    listen [::]:443 ssl;\n"
LISTEN_PLAIN = "    listen 80;\n    listen [::]:80;\n"
# One worker, so that what arrived first is looked at first. It believes the address that a PROXY line tells.
MAIN = """\
user {user};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 768; }}
http {{
    log_format test '$cellblock_request_id $upstream_addr';
    access_log {folder}/access.log test;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    set_real_ip_from 127.0.0.1;
    real_ip_header proxy_protocol;
    include cellblock/site.conf;
}}
"""


def binary() -> str:
    """What `./bootstrap test` unpacked, else the host's own."""
    unpacked = PREFIX / "nginx/usr/sbin/nginx"
    found = str(unpacked) if unpacked.exists() else shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert found is not None, "there is no nginx; `./bootstrap test` gets it"
    return found


def replaced(text: str, old: str, new: str) -> str:
    """`text` with `new` for `old`, which must be there: the shipped files are what is tested."""
    assert old in text, old
    return text.replace(old, new)


def shared_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that nginx's workers and the HTTP process may pass into, for the sockets between them."""
    folder = tempfile.TemporaryDirectory(prefix="cellblock-nginx-")
    pathlib.Path(folder.name).chmod(0o755)
    return folder


class Connection(http.client.HTTPConnection):
    """HTTPS to nginx; `address` is what nginx takes for the client's, 127.0.0.1 when None."""

    def __init__(self, nginx: "Nginx", address: str | None = None, timeout_s: float = 60) -> None:
        super().__init__("127.0.0.1", nginx.port if address is None else nginx.told_port, timeout=timeout_s)
        self.trust, self._address = nginx.trust, address

    def connect(self) -> None:
        raw = socket.create_connection((self.host, self.port), self.timeout)
        raw.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, True
        )  # as HTTPConnection does: head and body are two segments
        if self._address is not None:
            family = "TCP6" if ":" in self._address else "TCP4"
            local = "::1" if ":" in self._address else "127.0.0.1"
            raw.sendall(f"PROXY {family} {self._address} {local} 4000 443\r\n".encode())
        self.sock = self.trust.wrap_socket(raw, server_hostname=NAME)


class Nginx:
    """`with Nginx(upstream) as nginx`: nginx before what `upstream` says, the address of one cellblock.

    With `nodes`, addresses of as many cellblocks as nodes.conf has servers, that file is used instead.
    """

    def __init__(self, upstream: str = "", nodes: tuple[str, ...] = ()) -> None:
        self._upstream, self._nodes = upstream, nodes
        self.port = self.told_port = self.plain_port = 0
        self.errors = ""

    def __enter__(self) -> "Nginx":
        with contextlib.ExitStack() as stack:
            self.folder = pathlib.Path(stack.enter_context(shared_folder()))
            listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=511)) for _ in range(3)]
            self.port, self.told_port, self.plain_port = (listener.getsockname()[1] for listener in listeners)
            self._write_files()
            log = stack.enter_context((self.folder / "error.log").open("wb"))
            for listener in listeners:
                listener.setblocking(
                    False
                )  # it takes them over as from a predecessor, so nobody can take the ports first
            inherited = [listener.fileno() for listener in listeners]
            environment = {**os.environ, "NGINX": "".join(f"{number};" for number in inherited)}
            process = subprocess.Popen(
                [binary(), "-p", str(self.folder), "-c", "nginx.conf", "-e", "stderr"],
                env=environment, pass_fds=inherited, stderr=log,
            )  # fmt: skip
            stack.callback(self._stop, process)
            for listener in listeners:
                listener.close()
            self.trust = ssl.create_default_context(cafile=self.certificate)
            until(lambda: self._answers(process), START_S, "nginx answers")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.wait(START_S)
        self.errors = (self.folder / "error.log").read_text()

    def _write_files(self) -> None:
        user = "www-data"
        (self.folder / "nginx.conf").write_text(MAIN.format(folder=self.folder, user=user))
        ours = self.folder / "cellblock"
        shutil.copytree(FILES, ours)
        site = (FILES / "site.conf").read_text()
        tls = f"listen 127.0.0.1:{self.port} ssl; listen 127.0.0.1:{self.told_port} ssl proxy_protocol;\n"
        site = replaced(site, LISTEN_TLS, tls)
        site = replaced(site, LISTEN_PLAIN, f"listen 127.0.0.1:{self.plain_port};\n")
        (ours / "site.conf").write_text(replaced(site, "/etc/nginx/cellblock/tls/", f"{ours}/tls/"))
        text = (FILES / ("nodes.conf" if self._nodes else "upstream.conf")).read_text()
        if not self._nodes:
            text = replaced(text, UPSTREAM, self._upstream)
        for number, node in enumerate(self._nodes, 1):
            text = replaced(text, f"10.0.0.1{number}:8000", node)
        (ours / "upstream.conf").write_text(text)
        (ours / "tls").mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
             "-keyout", ours / "tls/privkey.pem", "-out", ours / "tls/fullchain.pem"],
            check=True, capture_output=True,
        )  # fmt: skip

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, (self.folder / "error.log").read_text()
        with contextlib.suppress(OSError):
            return self.request("GET", "/metrics").status == 404
        return False

    @property
    def certificate(self) -> pathlib.Path:
        """Its own, of NAME, signed by itself."""
        return self.folder / "cellblock/tls/fullchain.pem"

    # -- requests

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        address: str | None = None,
    ) -> Answer:
        """Over a connection of its own."""
        with contextlib.closing(Connection(self, address)) as connection:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())

    def raw(self, data: bytes, address: str | None = None) -> bytes:
        """All that nginx says to these bytes until it closes, which they must make it do.

        Answers come before all is sent. One thread reads and sends: an SSL object is not for two at once (OpenSSL,
        openssl-threads(7)).
        """
        heard, unsent = [b""], memoryview(data)
        with contextlib.closing(Connection(self, address)) as connection:
            connection.connect()
            sock = connection.sock
            sock.setblocking(False)
            while True:
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    unsent = unsent[sock.send(unsent) :] if unsent else unsent
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    heard.append(sock.recv(1 << 16))
                    if not heard[-1]:
                        return b"".join(heard)
                    continue  # what OpenSSL has read already makes no socket readable
                ready = select.select([sock], [sock] if unsent else [], [], START_S)
                assert any(ready), "nginx neither reads nor answers"

    def upstreams(self) -> list[list[str]]:
        """For each request that is logged, the addresses that had it, in their order; ["-"] where none did."""
        return list(self._logged().values())

    def upstreams_of(self, answer: Answer) -> list[str]:
        """Of the request that was answered so, once it is logged, which comes after its answer."""
        until(lambda: answer.headers["X-Request-Id"] in self._logged(), START_S, "the request is logged")
        return self._logged()[answer.headers["X-Request-Id"]]

    def _logged(self) -> dict[str, list[str]]:
        """By request id."""
        lines = (line.split(maxsplit=1) for line in (self.folder / "access.log").read_text().splitlines())
        return {request: addresses.split(", ") for request, addresses in lines}
