"""What the probe found out about a machine, typed; `probe.py` prints this shape, `checks/` judges it."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgex_runtime.errors import SpecError

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFacts:
    """The kernel and the distribution; empty is unknown."""

    machine: str
    kernel: str
    os: str
    os_codename: str
    page_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonFacts:
    """The Python that ran the probe.

    Attributes:
        version: ``3.11.2``.
        executable: Its path.
        bits: 32 or 64, whatever the kernel is.
        glibc: Empty without glibc: musl, on which no manylinux wheel runs.
        is_virtual: A virtual environment.
        is_managed: The distribution's, which pip may not install into (PEP 668).
    """

    version: str
    executable: str
    bits: int
    glibc: str
    is_virtual: bool
    is_managed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuFacts:
    """The CPU; `features` are only those that decide about speed and wheels, `usable` are this process's cores."""

    model: str
    cores: int
    usable: int
    features: tuple[str, ...]
    governor: str
    max_mhz: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFacts:
    """In MiB; `limit_mb` is that of the control group."""

    total_mb: int | None
    available_mb: int | None
    swap_mb: int | None
    limit_mb: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFacts:
    """A file system, by the first of the folders that were asked for on it; in MiB."""

    path: str
    total_mb: int
    free_mb: int
    device: str
    filesystem: str
    is_read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFacts:
    """What the device tree (`model`, `compatible`) or the DMI (`vendor`, `product`) call the machine."""

    model: str
    compatible: tuple[str, ...]
    vendor: str
    product: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFacts:
    """Who ran the probe: `groups` are in force, `listed` will be after the next login."""

    name: str
    uid: int
    groups: tuple[str, ...]
    listed: tuple[str, ...]
    gids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """A device file, the group it belongs to, and whether the user may read and write it."""

    path: str
    group: str
    may_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFacts:
    """A video device; `captures` is whether its driver gives pictures, None where it could not be asked."""

    path: str
    group: str
    may_open: bool
    name: str
    captures: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorFacts:
    """What there is beside the CPU.

    Attributes:
        nvidia: ``name, driver`` for each card that nvidia-smi lists.
        nvidia_module: The kernel's NVIDIA driver, where it is loaded.
        jetson: The first line of /etc/nv_tegra_release.
        intel_gpu: Whether a graphics device of Intel is there.
        intel_npu: Whether Intel's NPU is there.
        edge_tpu: Google's Edge TPUs.
        nodes: The device files of these.
    """

    nvidia: tuple[str, ...]
    nvidia_module: str
    jetson: str
    intel_gpu: bool
    intel_npu: bool
    edge_tpu: tuple[str, ...]
    nodes: tuple[NodeFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFacts:
    """A temperature sensor."""

    name: str
    celsius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFacts:
    """How the machine fares; None is unknown.

    Attributes:
        zones: Temperatures.
        throttled: The bits of ``vcgencmd get_throttled``.
        undervoltage: A Raspberry Pi's alarm, now.
        throttle_count: How often an Intel CPU was slowed down by heat since its start.
        power_mode: A Jetson's, as nvpmodel says it.
    """

    zones: tuple[ZoneFacts, ...]
    throttled: int | None
    undervoltage: bool | None
    throttle_count: int | None
    power_mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFacts:
    """Whether the clock is held to the network's time (None: nobody says), and whether it outlives a power cut."""

    is_synchronised: bool | None
    has_rtc: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the probe found; `time_s` is the machine's clock, in seconds since 1970."""

    time_s: float
    system: SystemFacts
    python: PythonFacts
    cpu: CpuFacts
    memory: MemoryFacts
    disks: tuple[DiskFacts, ...]
    board: BoardFacts
    user: UserFacts
    cameras: tuple[CameraFacts, ...]
    accelerators: AcceleratorFacts
    health: HealthFacts
    clock: ClockFacts
    packages: Mapping[str, str]
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema != SCHEMA_VERSION:
            raise ValueError(f"want facts of schema {SCHEMA_VERSION}, got {self.schema}")

    @property
    def python_version(self) -> tuple[int, int]:
        """(3, 11)."""
        major, minor = self.python.version.split(".")[:2]
        if not (major.isdigit() and minor.isdigit()):
            raise SpecError(f"python.version: want a version as 3.11.2, got {self.python.version!r}")
        return int(major), int(minor)

    @property
    def hottest(self) -> ZoneFacts | None:
        """The warmest sensor."""
        return max(self.health.zones, key=lambda zone: zone.celsius, default=None)
