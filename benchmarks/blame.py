"""How far the simulated shares of `edgex inspect --layers` are from the exact ones, which onnxruntime computes.

    python benchmarks/blame.py FP32.onnx INT8.onnx PHOTOS [--images N]

Exact means: the fp32 file with one layer's weights, bias and output quantised as in the int8 file, one file a layer.
Printed for shares on 4 images, 8, … and all N: half the sum of all differences (0: the same shares, 1: none in common).
"""

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.table import Table

from edgex_converters.blame import blame, energy, logits_of, read
from edgex_converters.evaluation import spread_over
from edgex_converters.stages import alone_onnx
from edgex_runtime import image, preprocess
from edgex_runtime.dataset import scan
from edgex_runtime.metadata.registry import read_spec


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fp32", type=Path)
    parser.add_argument("int8", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=16)
    options = parser.parse_args()
    spec, files = read_spec(options.fp32), scan(options.photos).files
    chosen = [files[index].path for index in spread_over(len(files), options.images)]
    images = np.stack([preprocess.resize(image.read_image(path), spec.input, spec.resize) for path in chosen])
    wanted = logits_of(options.fp32, images, threads=1)
    exact = {
        layer: energy(alone_onnx.logits(options.fp32, options.int8, layer, images) - wanted)
        for layer in alone_onnx.layers(options.fp32)
    }
    total, table = sum(exact.values()), Table("images for shares", "distance", "worst layer", "its share", "exact", "s")
    reference = read(options.fp32)
    for count in sorted({4, 8, len(images)}):
        start = perf_counter()
        found = blame(options.int8, reference, images, wanted, share_images=count, threads=1)
        seconds = perf_counter() - start
        shares = {layer.name: layer.share for layer in found.layers if layer.name in exact}
        among = sum(shares.values())
        off = {name: shares[name] / among - energy_alone / total for name, energy_alone in exact.items()}
        worst = max(off, key=lambda name: abs(off[name]))
        distance = sum(map(abs, off.values())) / 2
        row = (
            f"{distance:.4f}",
            worst,
            f"{shares[worst] / among:.3f}",
            f"{exact[worst] / total:.3f}",
            f"{seconds:.1f}",
        )
        table.add_row(str(count), *row)
    Console().print(table)
    Console().print(f"unexplained {found.unexplained:.2%}, sum of parts {found.sum_of_parts:.2f}")


if __name__ == "__main__":
    main()
