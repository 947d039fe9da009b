"""The neighbour of leftovers.py: leaves files and sockets wherever it can, says so, and stays."""

import os
import signal
import socket

for folder in ("/tmp", "/dev/shm", "/work", "/", "/usr/tmp", "/var/tmp", "/run"):
    try:
        with open(os.path.join(folder, "left-behind"), "w") as file:
            file.write("left")
    except OSError:
        pass
sockets = [socket.socket(socket.AF_UNIX) for _ in range(2)]
sockets[0].bind("\0left-behind")
sockets[0].listen()
sockets[1].bind("/tmp/left-socket")
sockets[1].listen()
print("planted", flush=True)
signal.pause()
