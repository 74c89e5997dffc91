"""How much more memory `edgex live` takes than the bare interpreter and the same TFLite model, once a second.

python benchmarks/idle_rss.py signs-int8.tflite
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
engine = Interpreter(sys.argv[1], num_threads=1)
engine.allocate_tensors()
image = engine.get_input_details()[0]
while True:
    engine.set_tensor(image["index"], np.zeros(image["shape"], image["dtype"]))
    engine.invoke()
    engine.get_tensor(engine.get_output_details()[0]["index"])
    time.sleep(1)
"""
LIVE = ("-m", "edgex", "live", "{model}", "test://shapes?fps=1", "--threads", "1")
SETTLED_S = 12


def resident_kb(arguments: list[str], cache: str) -> int:
    """A process's resident memory when it has settled."""
    environment = {"EDGEX_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-I", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        time.sleep(SETTLED_S)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    finally:
        process.terminate()
        process.wait()
    return int(status.partition("VmRSS:")[2].split()[0])


def main() -> None:
    """Measure, and print one line."""
    model = sys.argv[1]
    live = [word.format(model=model) for word in LIVE]
    with tempfile.TemporaryDirectory() as cache:
        bare, first, later = (resident_kb(words, cache) for words in (["-c", BARE, model], live, live))
    print(f"bare {bare} kB, edgex live {later} kB (+{later - bare}), at its first start {first} kB (+{first - bare})")


if __name__ == "__main__":
    main()
