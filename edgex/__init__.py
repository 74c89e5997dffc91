"""edgex: from a folder of photos to a camera on a small computer, with proof at every step."""

# Not typing's own: importing that takes longer than the rest of the start, and Ctrl-C meanwhile ends in a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edgex_runtime.errors import EdgexError as EdgexError
    from edgex_runtime.model import Model as Model
    from edgex_runtime.predictions import Prediction as Prediction
    from edgex_runtime.spec import ModelSpec as ModelSpec

__all__ = ["EdgexError", "Model", "ModelSpec", "Prediction", "__version__"]
__version__ = "0.1.0"

# Public name → module: imported on first use (PEP 562), so that `import edgex` costs nothing but this file.
_HOMES = {
    "EdgexError": "edgex_runtime.errors",
    "Model": "edgex_runtime.model",
    "ModelSpec": "edgex_runtime.spec",
    "Prediction": "edgex_runtime.predictions",
}


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'edgex' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
