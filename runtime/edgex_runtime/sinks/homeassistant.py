"""What Home Assistant wants to hear over MQTT, so that it shows a device and its entities without being set up.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgex_runtime.freshness import State

SEEN = "{{ 'online' if value_json.state in ('LIVE', 'ENDED') else 'offline' }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One source, as Home Assistant is told of it.

    Attributes:
        id: Letters, digits and underscores; the same in every run, so that it is one device for ever.
        name: What a person calls it.
        model: The classifier's name.
        version: Ours.
    """

    id: str
    name: str
    model: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """Where a source's messages are published."""

    availability: str
    result: str
    event: str


def discovery(device: Device, topics: Topics, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield topic and payload of each entity's configuration, to be retained."""
    shared = {
        "device": {
            "identifiers": [device.id],
            "name": device.name,
            "manufacturer": "edgex",
            "model": device.model,
            "sw_version": device.version,
        },
        "origin": {"name": "edgex", "sw_version": device.version},
    }
    running = {"availability": [{"topic": topics.availability}]}
    # What is known of a picture says nothing once the camera shows none.
    seen = {
        "availability": [
            {"topic": topics.availability},
            {"topic": topics.result, "value_template": SEEN},
        ],
        "availability_mode": "all",
    }
    for component, key, of_picture, settings in _entities(topics):
        config = {"unique_id": f"{device.id}_{key}", **settings, **shared}
        yield f"{prefix}/{component}/{device.id}/{key}/config", {**config, **(seen if of_picture else running)}


def _entities(topics: Topics) -> Iterator[tuple[str, str, bool, dict[str, Any]]]:
    """Component, key, whether it tells of the picture (else of the run), and its own settings."""
    result = {"state_topic": topics.result}
    diagnostic = {**result, "entity_category": "diagnostic"}
    yield (
        "sensor",
        "label",
        True,
        {**result, "name": "Label", "icon": "mdi:label", "value_template": "{{ value_json.label }}"},
    )
    yield (
        "sensor",
        "score",
        True,
        {
            **result,
            "name": "Score",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "value_template": "{{ (value_json.score * 100) | round(1) if value_json.score is number else None }}",
        },
    )
    yield (
        "sensor",
        "age",
        False,
        {
            **diagnostic,
            "name": "Frame age",
            "unit_of_measurement": "ms",
            "device_class": "duration",
            "state_class": "measurement",
            "value_template": "{{ value_json.age_ms | round(0) if value_json.age_ms is number else None }}",
        },
    )
    yield (
        "sensor",
        "state",
        False,
        {
            **diagnostic,
            "name": "Source",
            "device_class": "enum",
            "options": [state.value for state in State],
            "value_template": "{{ value_json.state }}",
        },
    )
    yield (
        "binary_sensor",
        "camera",
        False,
        {
            **diagnostic,
            "name": "Camera",
            "device_class": "connectivity",
            "value_template": "{{ 'ON' if value_json.state == 'LIVE' else 'OFF' }}",
        },
    )
    yield (
        "binary_sensor",
        "in_view",
        True,
        {
            **result,
            "name": "In view",
            "device_class": "occupancy",
            "value_template": "{{ 'ON' if value_json.present else 'OFF' }}",
        },
    )
    yield (
        "event",
        "event",
        False,
        {"name": "Event", "state_topic": topics.event, "event_types": ["appeared", "left"]},
    )
