"""Vendors that report usage over the network are told not to, before they are imported.

Neither our users nor their boards asked for it: onnxruntime (1.32 and later) writes an id and sends events from its
import on, OpenVINO and NNCF do so through the package `openvino_telemetry`.
"""

import os
import sys


def decline_telemetry() -> None:
    """Decline on behalf of this process; a user who set the vendor's own variable keeps what they chose.

    This is the one place where the library writes an environment variable: both vendors decide at import, and offer no
    other way that leaves the user's home folder alone.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # A None here makes `import openvino_telemetry` an ImportError, upon which OpenVINO and NNCF take their silent stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
