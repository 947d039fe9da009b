"""Fuzzing by hand: the tests of this folder, again and again, each round with another seed and many examples.

    sudo ./bootstrap fuzz [--minutes 60] [FILE...]

Each round prints a line. The first failure ends it, with what hypothesis says of it and the seed; an example that is
found so is written beside its test, with `@example`. The exit status is 0 where nothing was found.
"""

import argparse
import os
import pathlib
import random
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
EXAMPLES = re.compile(r"(\d+) passing")


def one_round(files: list[str]) -> bool:
    """Whether all passed."""
    seed, started_s = random.randrange(1 << 32), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-m", "", "--timeout", "3600",
         "--hypothesis-show-statistics", f"--hypothesis-seed={seed}", *files],
        env={**os.environ, "CELLBLOCK_TEST_FUZZ": "long"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    examples = sum(map(int, EXAMPLES.findall(done.stdout)))
    print(f"seed {seed}: {examples} examples in {time.monotonic() - started_s:.0f} s", flush=True)
    if done.returncode != 0:
        print(done.stdout)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="no round begins after that; an hour when not given"
    )
    parser.add_argument("files", nargs="*", default=[str(HERE), str(HERE.parent / "native" / "test_any_files.py")])
    options = parser.parse_args()
    end_s = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end_s:
        if not one_round(options.files):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
