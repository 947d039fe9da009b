"""Where it listens is what the settings and systemd say together, and where others could run programs it does not start."""

import json
import os
import pathlib
import socket

import pytest

from daemon import listeners, reach, settings
from daemon.host import service_manager


@pytest.fixture(autouse=True)
def _no_settings_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/dev/null")


def handed_over(monkeypatch: pytest.MonkeyPatch) -> int:
    """A socket as systemd hands it over. Returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    monkeypatch.setattr(service_manager, "FIRST_SOCKET", listener.detach())
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    return port


def test_addresses_of_the_settings_are_said_to_mean_nothing_where_systemd_holds_the_sockets(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By one line of the log, however many HTTP processes there are. The others of the settings hold."""
    port = handed_over(monkeypatch)
    configured = settings.load(host="192.0.2.1", unix_socket=pathlib.Path("/nonexistent"), http_processes=2)
    for (listener,) in listeners.of_service(configured):
        assert listener.getsockname()[1] == port
    (said,) = map(json.loads, capfd.readouterr().err.splitlines())
    assert said["level"] == "warning"
    assert said["event"].startswith("of no effect here: host, unix_socket. systemd holds the sockets")
    listener.close()


def test_nothing_is_said_where_the_settings_choose_no_address(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    handed_over(monkeypatch)
    ((listener,),) = listeners.of_service(settings.load())
    listener.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("proxy", ["unix", "127.0.0.0/8"])
def test_without_tokens_nothing_is_served_to_a_proxy_that_others_reach(proxy: str) -> None:
    """On loopback and on a path, too: whom the proxy lets in would run programs."""
    with pytest.raises(reach.TooOpen, match="anybody who reaches the proxy of trusted_proxies could run programs"):
        listeners.own(settings.load(port=0, trusted_proxies=(proxy,)))
    ((listener,),) = listeners.own(settings.load(port=0, trusted_proxies=(proxy,), insecure_without_tokens=True))
    listener.close()
