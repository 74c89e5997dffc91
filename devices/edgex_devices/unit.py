"""The systemd unit that an app runs under: no root, a read-only system, its camera, its own state, a watchdog.

`systemd-analyze security` calls the system unit 0.9 ("SAFE"), and 1.8 ("OK") where a source or a sink wants a network
(systemd 252; tests/board/test_unit.py). What is left open on purpose: /proc/cpuinfo (engines choose their kernels by
it), and memory that is written and executed (OpenVINO makes its kernels at run time).
"""

from dataclasses import dataclass

STOP_S = 5
NETWORK_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "mqtt", "mqtts", "metrics", "browser", "tcp", "udp", "gst")
_CAMERA_DEVICES = ("char-video4linux", "char-media", "char-dma_heap")
# A name matches as a file's does: CUDA opens nvidia-uvm besides the card.
_GPU_DEVICES = ("char-drm", "char-nvidia*", "char-accel")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOptions:
    """What differs between apps.

    Attributes:
        app: Its name.
        title: What it runs, in words.
        start_s: Longest time from start to first frame.
        watchdog_s: Longest time without a frame.
        memory_limit_mb: None for no limit.
        network: Whether its source or a sink needs one.
        gpu: Whether its engine runs on one.
    """

    app: str
    title: str
    start_s: float
    watchdog_s: float
    memory_limit_mb: int | None
    network: bool
    gpu: bool


def needs_network(uris: tuple[str, ...]) -> bool:
    """Whether one of these sources and sinks is on another machine, or is a server itself.

    >>> needs_network(("0", "out.mp4")), needs_network(("rtsp://camera/1",))
    (False, True)
    """
    return any(uri.partition("://")[0] in NETWORK_SCHEMES for uri in uris if "://" in uri or uri.startswith("gst:"))


def system_unit(options: UnitOptions) -> str:
    """The unit of the system's own systemd; its root is ``/opt/edgex/APP``."""
    app, agent = options.app, _agent(f"/opt/edgex/{options.app}")
    return _text(
        {
            "Unit": [
                f"Description=edgex: {options.title}",
                "StartLimitIntervalSec=0",
                # Without a release there is nothing to start, again and again.
                f"ConditionPathExists={agent.root}/current",
                *(["Wants=network-online.target", "After=network-online.target"] if options.network else []),
            ],
            "Service": [
                # After a power cut in the midst of a switch: with root's rights, and before anything of the app runs.
                f"ExecStartPre=+{agent('recover')}",
                f"ExecStart={agent('exec')}",
                *_supervision(options),
                "DynamicUser=yes",
                f"SupplementaryGroups=video{' render' if options.gpu else ''}",
                f"RuntimeDirectory=edgex-{app}",
                "RuntimeDirectoryPreserve=restart",
                f"StateDirectory=edgex-{app}",
                f"CacheDirectory=edgex-{app}",
                f"Environment=EDGEX_CACHE_DIR=/var/cache/edgex-{app} HOME=/var/lib/edgex-{app}",
                f"WorkingDirectory=/var/lib/edgex-{app}",
                # A journal of its own, in memory and of a fixed size: see journald_conf.
                f"LogNamespace=edgex-{app}",
                *_sandbox(options),
            ],
            "Install": ["WantedBy=multi-user.target"],
        }
    )


def user_unit(options: UnitOptions) -> str:
    """The unit of a user's systemd, where nobody is root; its root is ``~/.local/share/edgex/APP``."""
    app, agent = options.app, _agent(f"%h/.local/share/edgex/{options.app}")
    return _text(
        {
            "Unit": [
                f"Description=edgex: {options.title}",
                "StartLimitIntervalSec=0",
                f"ConditionPathExists={agent.root}/current",
            ],
            "Service": [
                f"ExecStartPre={agent('recover')}",
                f"ExecStart={agent('exec')}",
                *_supervision(options),
                f"RuntimeDirectory=edgex-{app}",
                "RuntimeDirectoryPreserve=restart",
                f"Environment=EDGEX_CACHE_DIR=%h/.cache/edgex-{app}",
                "NoNewPrivileges=yes",
                "UMask=0077",
                "LockPersonality=yes",
                "RestrictRealtime=yes",
                "RestrictSUIDSGID=yes",
                "SystemCallArchitectures=native",
            ],
            "Install": ["WantedBy=default.target"],
        }
    )


def journald_conf(app: str) -> str:
    """The settings of the app's own journal: in memory, so that the SD card is not worn, and bounded."""
    return _text(
        {"Journal": ["Storage=volatile", "RuntimeMaxUse=8M", "RateLimitIntervalSec=30s", "RateLimitBurst=500"]}
    )


def _agent(root: str) -> "_Agent":
    return _Agent(root)


@dataclass(frozen=True, slots=True)
class _Agent:
    root: str

    def __call__(self, action: str) -> str:
        return f"/usr/bin/python3 -I {self.root}/current/agent.pyz {action} {self.root}"


def _supervision(options: UnitOptions) -> list[str]:
    limit = options.memory_limit_mb
    return [
        "Type=notify",
        "NotifyAccess=main",
        # The backoff between starts is the agent's (1 s, 2 s, … 60 s): RestartSteps= came with systemd 254.
        "Restart=always",
        "RestartSec=1",
        # The agent's backoff, which comes before the first frame, is part of the start.
        f"TimeoutStartSec={options.start_s + 60:g}",
        f"WatchdogSec={options.watchdog_s:g}",
        "WatchdogSignal=SIGKILL",
        f"TimeoutStopSec={STOP_S}",
        # 130: Ctrl-C; 143: SIGTERM that came before the frame loop.
        "SuccessExitStatus=130 143",
        *([f"MemoryMax={limit}M", "OOMPolicy=stop"] if limit else []),
        "LimitCORE=0",
    ]


def _sandbox(options: UnitOptions) -> list[str]:
    devices = [*_CAMERA_DEVICES, *(_GPU_DEVICES if options.gpu else ())]
    network = (
        ["RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6"]
        if options.network
        else ["PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX AF_NETLINK", "IPAddressDeny=any"]
    )
    return [
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "ProtectProc=invisible",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "RemoveIPC=yes",
        "KeyringMode=private",
        "UMask=0077",
        "DevicePolicy=closed",
        # After ProtectClock, which would close the list for itself alone.
        *(f"DeviceAllow={device} rw" for device in devices),
        *network,
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        "SystemCallErrorNumber=EPERM",
    ]


def _text(sections: dict[str, list[str]]) -> str:
    return "\n".join("\n".join([f"[{name}]", *lines, ""]) for name, lines in sections.items())
