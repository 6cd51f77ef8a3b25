"""RTSP by libav, after a check where the password goes; if it fails, the server is asked for the reason."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, Literal

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError, HTTPServerError, InvalidDataError

from perception.sources.network.address import Address
from perception.sources.network.deadline import Deadline
from perception.sources.network.rtsp_inquiry import check_answers, check_redirects
from perception.sources.network.tls import TlsSettings

# Not "fflags=nobuffer", as is often advised: it discards what was read while the streams were probed,
# including the first key frame, and nothing can be decoded until the next one.
# TCP loses no packets and passes routers; UDP for cameras that offer nothing else.
_TRANSPORTS: Final = {
    "auto": {"rtsp_transport": "tcp+udp", "rtsp_flags": "prefer_tcp"},
    "tcp": {"rtsp_transport": "tcp"},
    "udp": {"rtsp_transport": "udp"},
}
# Audio and metadata (ONVIF) are not requested: some cameras refuse them, and the session with them.
_VIDEO_ALONE: Final = {"allowed_media_types": "video"}
RtspTransport = Literal["auto", "tcp", "udp"]
BUSY_S: Final = 0.5
"""Before a second attempt after an error of the server's own."""
# Protocols that libav may open by itself, for the rest of an RTSP session.
_PROTOCOLS: Final = "rtsp,rtp,udp,tcp,tls"


def open_rtsp(
    url: str,
    transport: RtspTransport,
    tls: TlsSettings,
    limits_s: tuple[float, float],
    options: Mapping[str, str],
) -> tuple[InputContainer, int]:
    """An open container, and when libav began to connect, in monotonic nanoseconds.

    Args:
        url: with user and password if needed.
        transport: to request.
        tls: how certificates are verified.
        limits_s: for all of it, half of which the first answer may take; and for every read.
        options: for libav, in addition to those of the transport.

    Raises:
        SourceError: with the server's reason for refusing it.
        TimeoutError: if nothing arrives in time; from libav as ExitError.
        FFmpegError: if libav does not open it, though the server does not refuse it.
    """
    open_limit_s, read_limit_s = limits_s
    limit, answer_limit = Deadline(), Deadline()
    limit.start(open_limit_s)
    answer_limit.start(open_limit_s / 2)
    wanted = {"protocol_whitelist": _PROTOCOLS, **_VIDEO_ALONE, **_TRANSPORTS[transport], **options}
    if "@" in url or url.startswith("rtsps"):
        check_redirects(url, tls, answer_limit)
    if url.startswith("rtsps"):
        wanted |= tls.libav_options()

    def opened() -> tuple[InputContainer, int]:
        # libav spends its limit twice: on connecting, and on probing the stream. After a late first answer
        # half of all is left for the two, enough for a key frame to arrive
        limits_s, asked_ns = (limit.left_s() / 2, read_limit_s), time.monotonic_ns()
        address = Address.of(url).full_url
        container = av.open(address, "r", options=wanted, timeout=limits_s, metadata_errors="replace")
        return container, asked_ns

    try:
        try:
            return opened()
        except HTTPServerError:  # some are busy for a moment with ending the previous session
            time.sleep(BUSY_S)
            return opened()
    except ExitError:
        raise
    except FFmpegError as error:
        try:
            check_answers(url, transport, tls, limit)
        except TimeoutError:
            if isinstance(error, InvalidDataError):  # libav takes silence for that
                raise
        raise
