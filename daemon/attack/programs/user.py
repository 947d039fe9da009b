"""Asks which user of the host it is, who must be neither root nor the daemon nor anybody else.

threat: D11
remedy: See the line `uids` of `cellblock doctor`, and the setting first_uid.
"""

import os
import pathlib

from attempts import host, tell

inside, outside, count = map(int, pathlib.Path("/proc/self/uid_map").read_text().split())
own = outside + os.getuid() - inside
is_own = host["first_uid"] <= own <= host["last_uid"] and 0 <= os.getuid() - inside < count
tell("be a user that others may be, too", not is_own or own == outside, own)
