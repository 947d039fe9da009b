"""Chaos: parts of a server of our own are killed, stopped and starved in random order, while honest clients go on.

    sudo ./bootstrap chaos [--seed 1] [--minutes 15] [--plan]

Clients run, compile, grade, upload packages and follow event streams; every program's answer is known. One line is
printed for each step: what was done, and after how long a new program of each language ran. The plan follows from the
seed: `--plan` prints it and does nothing. Whose turn it is in the server then is not planned, so a run repeats the
blows and not their effects. At the end it prints what must hold; the exit status is 0 where all of it does.
"""

import argparse
import asyncio
import statistics
import sys
import time

import uvloop

from tests.chaos import plan
from tests.chaos.plan import Kind
from tests.chaos.run import HEAL_S, Seen, run
from tests.performance.steady_load import Verdicts

GROWTH_MAX, GROWTH_MB_MAX, DESCRIPTORS_MORE_MAX = 0.1, 8.0, 64
MB = 1 << 20


def judge(seen: Seen) -> bool:
    """Prints what was seen, and whether all that must hold does."""
    told, verdicts = seen.told, Verdicts()
    print(f"{len(seen.healings)} steps, {sum(len(healing.step.blows) for healing in seen.healings)} blows")
    print(f"answers: {dict(told.answers.most_common())}; right: {dict(told.right.most_common())}")
    print(f"connections cut and repeated: {told.cut}; gradings that said IE: {told.ie}")
    print(
        f"  no blow: {len(seen.quiet_s)} times, {statistics.median(seen.quiet_s):.2f} s, at most {max(seen.quiet_s):.2f} s"
    )
    for kind in Kind:
        if took_s := seen.healed_s(kind):
            print(
                f"  {kind}: {len(took_s)} times, healed in {statistics.median(took_s):.2f} s, at most {took_s[-1]:.2f} s"
            )
    for why in told.wrong:
        print(f"  wrong: {why}")
    verdicts.say(told.wrong_count == 0, f"answers that are wrong, or missing: {told.wrong_count} of {told.asked}")
    late = [healing for healing in seen.healings if healing.is_late]
    verdicts.say(
        not late, f"more than {HEAL_S:g} s, and a watchdog's time, later than without a blow: {len(late)} steps"
    )
    before, after = seen.before, seen.after
    for name in ("http_bytes", "keeper_bytes"):
        one, other = getattr(before, name) / MB, getattr(after, name) / MB
        verdicts.say(
            other - one <= max(GROWTH_MAX * one, GROWTH_MB_MAX), f"{name[:-6]}: {one:.1f} MB before, {other:.1f} after"
        )
    for name, more in (
        ("descriptors", DESCRIPTORS_MORE_MAX),
        ("processes", 0),
        ("zombies", 0),
        ("groups", 0),
        ("mounts", 0),
    ):
        one, other = getattr(before, name), getattr(after, name)
        verdicts.say(other <= one + more, f"{name}: {one} before, {other} after")
    for zombie in seen.zombies:
        print(f"  zombie: {zombie}")
    verdicts.say(not seen.left, f"left when the server was gone: {', '.join(seen.left) or 'nothing'}")
    return verdicts.all_met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="another each time when not given")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--languages", nargs="+", help="all that are installed when not given")
    parser.add_argument("--plan", action="store_true", help="print the steps and do none")
    parser.add_argument("--log", help="a file for the server's log")
    options = parser.parse_args()
    if options.plan:
        for step in plan.steps(options.seed, int(60 * options.minutes)):
            print(step)
        return 0
    print(f"seed {options.seed}", flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(
            run(options.seed, options.languages, 60 * options.minutes, lambda line: print(line, flush=True))
        )
    if options.log:
        with open(options.log, "w") as file:
            file.write(seen.log)
    return 0 if judge(seen) else 1


if __name__ == "__main__":
    sys.exit(main())
