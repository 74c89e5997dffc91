"""Names of OpenVINO nodes that say the same in every run: the same network then gives the same bytes."""

import re

import openvino

_COUNTED = re.compile(r"(?P<type>[A-Z][A-Za-z]*)_\d+")


def number_by_place(model: openvino.Model) -> None:
    """Rename, in place, the nodes that nobody named.

    OpenVINO calls them by a type (a folded constant by that of the node that it replaces) and a count of all nodes that
    the process has made so far, which depends on what else it has converted; here their place in the graph stands
    instead.
    """
    for place, node in enumerate(model.get_ordered_ops()):
        counted = _COUNTED.fullmatch(node.get_friendly_name())
        if counted is not None:
            node.set_friendly_name(f"{counted['type']}.{place}")
