"""A real RTSP server whose pictures tell their number, or the moment they were drawn, in black and white bars.

    /usr/bin/python3 tests/live/servers/rtsp_server.py --port 0

Wants Debian's python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-rtsp and gstreamer1.0-plugins-{good,bad,ugly}, and
runs with Debian's own Python; prints the port that it listens on. `camera_server.read` reads the bars.
"""

import argparse
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max={key} bitrate=4000 ! rtph264pay",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={key} bitrate=4000 ! rtph265pay",
    "jpeg": "jpegenc ! rtpjpegpay",
}


def draw(number, width, height, bits):
    """(height, width) grey: `number` as `bits` bars, upright above and inverted below."""
    bar = width // bits
    upper = b"".join((b"\xeb" if number >> bit & 1 else b"\x14") * bar for bit in range(bits))
    lower = bytes(255 - value for value in upper)
    return upper * (height // 2) + lower * (height - height // 2)


class Factory(GstRtspServer.RTSPMediaFactory):
    """One encoder for each client, fed by a timer."""

    def __init__(self, options):
        super().__init__()
        self.options = options
        self.count = 0
        width, height = map(int, options.size.split("x"))
        self.width, self.height = width, height
        caps = f"video/x-raw,format=GRAY8,width={width},height={height},framerate={options.fps}/1"
        self.set_launch(
            f"( appsrc name=pictures is-live=true do-timestamp=true format=time caps={caps} ! videoconvert ! "
            f"video/x-raw,format=I420 ! {ENCODERS[options.codec].format(key=options.key)} name=pay0 pt=96 )"
        )
        self.connect("media-configure", self.feed)

    def feed(self, _, media):
        """Push pictures for as long as the client is there."""
        source = media.get_element().get_child_by_name("pictures")

        def push():
            number = time.monotonic_ns() // 1_000_000 if self.options.show == "time" else self.count
            self.count += 1
            mask = (1 << self.options.bits) - 1
            picture = draw(number & mask, self.width, self.height, self.options.bits)
            return source.emit("push-buffer", Gst.Buffer.new_wrapped(picture)) == Gst.FlowReturn.OK

        GLib.timeout_add(round(1000 / self.options.fps), push)


def main():
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", default="0")
    parser.add_argument("--size", default="256x96")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--bits", type=int, default=16)
    parser.add_argument("--key", type=int, default=15)
    parser.add_argument("--show", choices=("count", "time"), default="count")
    parser.add_argument("--codec", choices=sorted(ENCODERS), default="h264")
    parser.add_argument("--login", metavar="USER:PASSWORD", help="asked for by Digest")
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=options.port)
    factory = Factory(options)
    if options.login:
        user, _, password = options.login.partition(":")
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(gi.repository.GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_digest(user, password, token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
