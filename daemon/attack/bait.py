"""What is put on the host for probes to find, and what they are told of it and of the host."""

import contextlib
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from daemon.host.instance import LAST_UID

SECRET_VARIABLE = "SECRET_OF_THE_HOST"
OWN_PIDS = 3  # a program sees its own jail under these numbers, which in a container may be ours, too


@contextlib.contextmanager
def bait(first_uid: int, secret: str) -> Iterator[dict[str, object]]:
    """A listener on loopback, an abstract socket, a file that everybody may read and a variable of our environment,
    which what we start inherits: both hold `secret`, of which probes are told the first half and a digest."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener, socket.socket(socket.AF_UNIX) as named:
        Path(folder).chmod(0o755)  # the file's mode is not to be the wall
        path = Path(folder, "secret")
        path.write_text(secret)
        path.chmod(0o644)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        abstract = f"cellblock-doctor-{os.getpid()}"
        named.bind(f"\0{abstract}")
        named.listen()
        os.environ[SECRET_VARIABLE] = secret
        half, digest = secret[: len(secret) // 2], hashlib.sha256(secret.encode()).hexdigest()
        pids = [pid for pid in (os.getpid(), os.getppid()) if pid > OWN_PIDS]
        try:
            yield {
                "secret_start": half, "secret_bytes": len(secret), "secret_digest": digest, "path": str(path),
                "port": listener.getsockname()[1], "abstract": abstract, "pids": pids, "first_uid": first_uid,
                "last_uid": LAST_UID,
            }  # fmt: skip
        finally:
            del os.environ[SECRET_VARIABLE]
