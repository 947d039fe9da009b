"""Prints without end, on standard output and error.

threat: O1
ends: output_limit
remedy: daemon/sandbox/pumps.py counts what is read; its limit is the setting output_bytes.
"""

import os

chunk = b"x" * 65536
os.fork()
while True:
    os.write(1, chunk)
    os.write(2, chunk)
