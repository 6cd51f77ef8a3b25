"""An RTSP camera: GStreamer's server, a folder of JPEG files as its picture, H.264, a password.

    /usr/bin/python3 server.py FOLDER --rate-hz 25 --transport tcp --password SECRET [--certificate FILE.pem]

Run by the system's Python, which has Debian's python3-gi. Like a camera it takes no picture while it is
stopped: its frames are stamped when they are taken, not when they were due.
"""

from __future__ import annotations

import argparse
from itertools import cycle
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402

USER, ROLE = "ann", "driver"
PORT, MOUNT = "8554", "/road"


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="An RTSP camera.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate-hz", type=int, default=25)
    parser.add_argument("--transport", choices=("tcp", "udp"), default="tcp")
    parser.add_argument("--password", required=True)
    parser.add_argument("--certificate", help="with its key: rtsps in place of rtsp")
    asked = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer(service=PORT)
    server.set_auth(_auth(asked.password, asked.certificate))
    server.get_mount_points().add_factory(MOUNT, _factory(asked))
    server.attach(None)
    GLib.MainLoop().run()


def _factory(asked: argparse.Namespace) -> GstRtspServer.RTSPMediaFactory:
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( appsrc name=camera is-live=true do-timestamp=true format=time "
        f"caps=image/jpeg,framerate={asked.rate_hz}/1 ! jpegdec ! videoconvert ! video/x-raw,format=I420 "
        # one slice: before each slice of a key frame the payloader would repeat the parameter sets, and a
        # receiver takes those for the start of another picture
        f"! x264enc tune=zerolatency speed-preset=ultrafast threads=1 sliced-threads=false "
        f"bitrate=800 key-int-max={asked.rate_hz} "
        f"! rtph264pay name=pay0 config-interval=-1 pt=96 )"
    )
    factory.set_shared(True)
    protocol = GstRtspServer.RTSPMediaFactory.get_protocols(factory)
    transports = {"tcp": type(protocol).TCP, "udp": type(protocol).UDP}
    factory.set_protocols(transports[asked.transport])
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role(ROLE, "media.factory.access", True)
    permissions.add_permission_for_role(ROLE, "media.factory.construct", True)
    factory.set_permissions(permissions)
    pictures = [file.read_bytes() for file in sorted(asked.folder.glob("*.jpg"))]
    factory.connect("media-configure", _take_pictures, pictures, asked.rate_hz)
    return factory


def _auth(password: str, certificate: str | None) -> GstRtspServer.RTSPAuth:
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(USER, password), token)
    if certificate:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
    return auth


def _take_pictures(
    _: GstRtspServer.RTSPMediaFactory,
    media: GstRtspServer.RTSPMedia,
    pictures: list[bytes],
    rate_hz: int,
) -> None:
    camera = media.get_element().get_by_name_recurse_up("camera")
    film = cycle(pictures)

    def take() -> bool:
        taken = camera.emit("push-buffer", Gst.Buffer.new_wrapped(next(film)))
        return taken == Gst.FlowReturn.OK

    GLib.timeout_add(round(1000 / rate_hz), take)  # ends with the media: it takes no buffer any more


if __name__ == "__main__":
    main()
