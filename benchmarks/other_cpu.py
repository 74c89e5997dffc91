"""Does a model file answer on another CPU as it does here? One run on each, and a comparison of what they said.

    python benchmarks/other_cpu.py say MODEL HERE.json PHOTO ...        # on both machines, the same photos
    python benchmarks/other_cpu.py compare HERE.json THERE.json

An aarch64 without a board: qemu-user 10 (7.2 shows the host's /proc/cpuinfo, on which engines die), Debian's arm64
python3 unpacked by `mmdebstrap --variant=extract`, and the wheels from `pip install --target site
--platform manylinux_2_28_aarch64 … --only-binary=:all:`:

    QEMU_CPU=cortex-a76 PYTHONPATH=site:… qemu-aarch64 -L ROOT ROOT/usr/bin/python3.11 benchmarks/other_cpu.py say …
"""

import argparse
import json
import platform
from pathlib import Path

import numpy as np

from edgex_runtime.evaluate import agreement, max_abs_difference_of_range, sqnr_db
from edgex_runtime.model import Model


def say(model_path: Path, out: Path, photos: list[Path]) -> None:
    """Write each photo's logits. The model's own self-test has run before, on this CPU."""
    with Model(model_path, threads=1) as model:
        logits = {photo.name: model.predict(photo).logits.tolist() for photo in photos}
        info = model.info
    out.write_text(json.dumps({"cpu": platform.machine(), "engine": f"{info.name} {info.version}", "logits": logits}))


def compare(here: Path, there: Path) -> None:
    """Print how alike two runs are."""
    first, second = (json.loads(path.read_text()) for path in (here, there))
    names = sorted(first["logits"])
    assert names == sorted(second["logits"]), "want the same photos on both"
    a, b = (np.array([run["logits"][name] for name in names], np.float32) for run in (first, second))
    print(f"{first['engine']} on {first['cpu']} and {second['cpu']}, {len(names)} photos")
    print(f"same top-1 on {agreement(a, b):.1%}, SQNR {sqnr_db(a, b):.1f} dB")
    print(f"largest difference {max_abs_difference_of_range(a, b):.5f} of the logits' range")


def main() -> None:
    """Say, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    saying = commands.add_parser("say")
    saying.add_argument("model", type=Path)
    saying.add_argument("out", type=Path)
    saying.add_argument("photos", type=Path, nargs="+")
    comparing = commands.add_parser("compare")
    comparing.add_argument("here", type=Path)
    comparing.add_argument("there", type=Path)
    options = parser.parse_args()
    if options.command == "say":
        say(options.model, options.out, options.photos)
    else:
        compare(options.here, options.there)


if __name__ == "__main__":
    main()
