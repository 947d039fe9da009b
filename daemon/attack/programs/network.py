"""Opens sockets of every family, connects to the host, to metadata, to others, to the host's abstract sockets.

threat: K3
needs: x86-64
remedy: In inner.toml socket allows AF_UNIX (1) alone, and warden.cfg has clone_newnet.
"""

import pathlib
import socket

from attempts import REFUSED, ask, attempt, host, tell

SOCKET, UNIX = 41, 1
KINDS = (1, 2, 3, 5)  # stream, datagram, raw, seqpacket
TIMEOUT_S = 0.2
ADDRESSES = (("127.0.0.1", host["port"]), ("::1", host["port"]), ("169.254.169.254", 80), ("8.8.8.8", 53))

for family in range(64):
    for high in (0, 1 << 32):
        answers = {ask(SOCKET, family | high, kind, 0) for kind in KINDS} - REFUSED
        if family != UNIX:
            tell(f"socket of family {family}", answers, answers)
for address in ADDRESSES:
    attempt(f"connect to {address[0]}", socket.create_connection, address, TIMEOUT_S)
attempt("look a name up", socket.getaddrinfo, "example.org", 80)
attempt("connect to an abstract socket of the host", socket.socket(socket.AF_UNIX).connect, f"\0{host['abstract']}")
devices = [line.split(":")[0].strip() for line in pathlib.Path("/proc/self/net/dev").read_text().splitlines()[2:]]
tell("see a network device", set(devices) - {"lo"}, devices)
