"""Makes the kernel spare it when memory is short.

threat: M9
remedy: /proc of a jail is read-only, and its programs hold no CAP_SYS_RESOURCE: confine() in jail.c.
"""

import pathlib

from attempts import attempt, tell

for name in ("oom_score_adj", "oom_adj"):
    attempt(f"write {name}", pathlib.Path("/proc/self", name).write_text, "-17")
score = pathlib.Path("/proc/self/oom_score_adj").read_text().strip()
tell("be chosen after the daemon", int(score) < 500, score)
