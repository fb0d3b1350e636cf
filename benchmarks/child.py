"""One side in a process of its own, for `timing.Child`: it runs once for each line it reads.

    python child.py KEY --threads 1 --batch 8

It answers each line with the seconds that the run took, as JSON. The allocator is left as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from timing import limit_threads


def main() -> int:
    parser = argparse.ArgumentParser(description="One side of a comparison, on call.")
    parser.add_argument("key")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    limit_threads(options.threads)
    from sides import Setting, build

    side = build(options.key, Setting(tiny=options.tiny, longest=options.seconds))
    given = side.prepare(side.clips(options.seconds, options.batch))
    for _ in sys.stdin:
        started = time.perf_counter()
        side.run(given)
        sys.stdout.write(json.dumps(time.perf_counter() - started) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
