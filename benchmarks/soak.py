"""A long live run at full rate: does its memory grow, do threads or descriptors stay behind?

    python benchmarks/soak.py MODEL [SOURCE] [--out URI ...] [--minutes N]

Runs `edgex live` in a process of its own and looks at it every ten seconds. What has to hold over 30 minutes: less than
5 MB more resident memory at the end than after the first two minutes.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

WARM_UP_S = 120
PERIOD_S = 10


def look_at(pid: int) -> tuple[float, int, int]:
    """Resident megabytes, threads, open descriptors."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]), len(list(Path(f"/proc/{pid}/fd").iterdir()))


def main() -> None:
    """Print what was seen at the start and at the end, and the slope between."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("source", nargs="?", default="test://shapes?size=640x480&fps=1000")
    parser.add_argument("--out", action="append", default=[])
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    outs = [word for uri in options.out or ["-"] for word in ("--out", uri)]
    command = [sys.executable, "-m", "edgex", "live", options.model, options.source, *outs]
    seen: list[tuple[float, float, int, int]] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        started = time.monotonic()
        while time.monotonic() - started < options.minutes * 60 and process.poll() is None:
            time.sleep(PERIOD_S)
            seen.append((time.monotonic() - started, *look_at(process.pid)))
        process.terminate()
        _, said = process.communicate()
    print(said.strip())
    warm = [row for row in seen if row[0] >= WARM_UP_S] or seen
    times, megabytes = np.array([row[0] for row in warm]), np.array([row[1] for row in warm])
    slope = np.polyfit(times / 60, megabytes, 1)[0] if len(warm) > 1 else 0.0
    print(f"resident  {megabytes[0]:.1f} MB after {times[0]:.0f} s, {megabytes[-1]:.1f} MB after {times[-1]:.0f} s, ")
    print(f"          most {megabytes.max():.1f} MB, slope {1e3 * slope:.0f} kB a minute")
    print(f"threads   {warm[0][2]} to {warm[-1][2]}, descriptors {warm[0][3]} to {warm[-1][3]}")


if __name__ == "__main__":
    main()
