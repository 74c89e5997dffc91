"""One photo through a network and every artifact made of it: the labels, and how far the probabilities lie apart.

    python benchmarks/one_photo.py PHOTO SOURCE ARTIFACT ... [--labels FILE] [--resize MODE]

SOURCE is what `convert-model` was given. What has to hold: one label, and fp32 probabilities within 1e-3 of the
network's.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from edgex import Model
from edgex.networks.source import Missing, resolve
from edgex_converters.stages import reference
from edgex_runtime.image import read_image
from edgex_runtime.postprocess import softmax
from edgex_runtime.preprocess import resize


def main() -> None:
    """Print one line a file, the network first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("source")
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--resize", choices=["crop", "stretch", "letterbox"])
    options = parser.parse_args()
    source = resolve(options.source, Missing(labels=options.labels, resize=options.resize))
    image = read_image(options.photo)
    batch = resize(image, source.spec.input, source.spec.resize)[None]
    logits = reference.run(source.lazy_network().get(), batch, lambda done, total: None)
    wanted = softmax(logits, source.spec.temperature)[0]
    table = Table("file", "label", title=str(options.photo))
    for heading in ("probability", "largest difference"):
        table.add_column(heading, justify="right")
    table.add_row(options.source, source.spec.labels[wanted.argmax()], f"{wanted.max():.5f}", "")
    for path in options.artifacts:
        with Model(path) as model:
            result = model.predict(image)
        found = softmax(result.logits, source.spec.temperature)
        table.add_row(path.name, result.label, f"{result.score:.5f}", f"{np.abs(found - wanted).max():.1e}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
