"""``python -m edgex_runtime.trial MODEL ENGINE``: open a model and run it once, in a process that may die of it.

The parent (`admission.py`) reads how it ended: a signal, or ``null`` or the text of a refusal as JSON on stdout.
"""

import json
import os
import resource
import sys
from pathlib import Path

import numpy as np

from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.engines.tensors import ANY
from edgex_runtime.errors import ModelFileError
from edgex_runtime.metadata.registry import artifact_files

_GIB = 1 << 30
_MIB = 1 << 20


def limits(size_bytes: int) -> tuple[int, int]:
    """Memory in bytes and CPU time in seconds that opening a model of this size may take.

    A vendor keeps up to three copies of the weights while it rearranges them, beside its own code and activations; the
    slowest board opens 8 MB a second.

    >>> limits(92 << 20) == (4 * 2**30 + 16 * 92 * 2**20, 21)
    True
    """
    return 4 * _GIB + 16 * size_bytes, 10 + size_bytes // (8 * _MIB)


def refusal(path: Path, engine: str) -> str | None:
    """Open `path` and run a grey picture; the text of the engine's error if it refuses either."""
    try:
        opened = open_engine(path, EngineOptions(device="cpu", threads=1), engine)
        wanted = opened.signature
        shape = (1, *wanted.input_shape[1:])
        if ANY not in shape and wanted.input_dtype in ("uint8", "int8", "float16", "float32"):
            opened.run(np.full(shape, 1, dtype=wanted.input_dtype))
    except ModelFileError as error:
        return str(error)
    except MemoryError:
        return f"{path}: {engine} wants more memory for it than any model of its size needs: the file is damaged"
    return None


def main() -> None:
    """Limit this process, try, and answer on what was stdout: vendors print there too."""
    path = Path(sys.argv[1])
    memory_bytes, cpu_s = limits(sum(file.stat().st_size for file in artifact_files(path)))
    _limit(resource.RLIMIT_DATA, memory_bytes)
    _limit(resource.RLIMIT_CPU, cpu_s)
    _limit(resource.RLIMIT_CORE, 0)
    answer = os.dup(1)
    os.dup2(2, 1)
    os.write(answer, json.dumps(refusal(path, sys.argv[2])).encode())
    # Nothing of what a damaged model has left behind is torn down.
    os._exit(0)


def _limit(kind: int, wanted: int) -> None:
    """Set the soft limit, whose CPU signal can be told from other kills; the hard one may be lower, and stays."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


if __name__ == "__main__":
    main()
