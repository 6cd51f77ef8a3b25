"""Whether a recording was read to its true end: libav ends silently where one was cut off or has a hole.

Each container shows it differently. Only facts that the file states or that demuxer and decoder report are
used, no heuristics about typical recordings.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from statistics import median
from typing import Final

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from perception.sources.decoding.file_end import (
    Beginning,
    goes_on_in_chunks,
    holds_another,
    is_cut_off,
    is_transport_stream,
)

LOST_PACKETS: Final = 2
LOST_SHARE: Final = 0.02
"""More undecodable packets than both are a missing part, fewer a damaged spot."""
SHORT_S: Final = 1.0
"""Tolerance for the stated end: containers often omit the duration of the last frame."""
HOLE_SHARE: Final = 0.02
HOLE_STEPS: Final = 20
"""A hole is larger than this share of the file and than this multiple of the usual step between packets."""
TORN_PICTURES: Final = 2
"""Damage in at most this many last pictures comes from a cut; the decoder may reorder one or two."""
_STEPS_KEPT: Final = 1000
_MATROSKA_DURATION: Final = r"(\d+):(\d+):(\d+\.?\d*)"
_FRAMES_OF_ONE_SIZE: Final = {"yuv4mpegpipe": b"FRAME", "dv": b""}
"""With the first bytes of a frame: other bytes after the last frame are not a part of one."""
_WITHOUT_DURATION: Final = ("mpegts", "mpeg", "h264", "hevc", "mjpeg", "m4v", "mpegvideo")
"""libav estimates their duration from the bit rate or the last timestamp that it finds."""
_ONE_DURATION: Final = ("matroska", "flv")
"""They state one duration for all streams; if a stream has its own, libav estimated both."""
_WITHOUT_END: Final = ("rtsp", "rtp", "sdp", "hls", "dash", "mpjpeg")
_JPEG_END: Final = b"\xff\xd9"
_PROBED_BYTES: Final = 2048


def reads_all_streams(container: InputContainer, stream: VideoStream) -> bool:
    """Whether packets of other streams are needed to judge the end.

    Not with an index of every packet, without an end, or in playlists, which would have to fetch them.
    """
    is_indexed = container.format.name.startswith("mov") and stream.frames > 0
    return not is_indexed and container.format.name not in _WITHOUT_END


def matroska_duration_s(stream: Stream) -> float | None:
    """The `DURATION` tag of a Matroska stream; None if absent."""
    tag = re.fullmatch(_MATROSKA_DURATION, stream.metadata.get("DURATION", ""))
    return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) if tag else None


class Completeness:
    """Follows the packets of one video stream and judges at the end.

    Args:
        container: open.
        stream: the video stream that is read.
        rate_hz: nominal frames per second.
        file: the file itself or its first bytes, to check its structure; None if it has no end.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        rate_hz: float,
        file: Path | Beginning | None = None,
    ) -> None:
        self._container, self._stream, self._rate_hz, self._file = container, stream, rate_hz, file
        self._time_base = _time_base_s(stream)
        self._time_bases = [_time_base_s(one) for one in container.streams]
        self._format = container.format.name.split(",")[0]
        self._reads_all = reads_all_streams(container, stream)
        is_estimated_by_stream = self._format in _ONE_DURATION and stream.duration is not None
        self._is_estimated = self._format in _WITHOUT_DURATION or is_estimated_by_stream
        self._packets = self._lost_packets = 0
        self._first_s, self._last_end_s = math.inf, 0.0
        self._first_of_all_s, self._last_end_of_all_s = math.inf, 0.0
        self._is_last_torn = self._has_run_back = self._ends_jpegs = False
        self._failed_at = self._pictures = self._damaged_in_a_row = 0
        self._sizes: set[int] = set()
        self._steps_bytes: list[int] = []
        # mov may store its streams one after the other; a live stream has no size
        looks_for_holes = container.size > 0 and self._format != "mov"
        self._least_hole_bytes = HOLE_SHARE * container.size if looks_for_holes else math.inf
        self._hole_bytes, self._hole_at = 0, 0
        self.gap_bytes = 0
        """Between the last two packets of the stream, including packets of others."""
        self._others: list[list[int]] = []
        self._others_before: list[list[int]] = []
        self._last_pos = self._last_end_bytes = self._last_pos_of_all = 0
        self._last_packet: Packet[Stream] | None = None

    def read(self, packet: Packet[Stream]) -> None:
        """Register a non-empty packet of the stream."""
        self._packets += 1
        begin_s = (packet.pts or 0) * self._time_base
        self._has_run_back |= begin_s + SHORT_S < self._last_end_s
        self._first_s = min(self._first_s, begin_s)
        self._last_end_s = max(self._last_end_s, begin_s + (packet.duration or 0) * self._time_base)
        self._is_last_torn = packet.is_corrupt
        if self._format == "mjpeg":
            self._ends_jpegs |= self._packets == 1 and bytes(packet).endswith(_JPEG_END)
            self._last_packet = packet
        if packet.pos is None or packet.pos < 0:
            return
        if self._packets > 1:
            self.gap_bytes = packet.pos - self._last_end_bytes
            if self.gap_bytes > self._least_hole_bytes:
                self._look_for_hole(packet.pos)
            step_bytes = packet.pos - self._last_pos
            if step_bytes > 0 and len(self._steps_bytes) < _STEPS_KEPT:  # 0 within one Ogg page
                self._steps_bytes.append(step_bytes)
        self._last_pos, self._last_end_bytes = packet.pos, packet.pos + packet.size
        if self._others or self._others_before:
            self._others_before, self._others = self._others, []
        if len(self._sizes) < 2:
            self._sizes.add(packet.size)

    def pass_by(self, packet: Packet[Stream]) -> None:
        """Register a packet of another stream: it may end last, and its bytes are no hole."""
        if not packet.size:
            return
        if packet.pts is not None:
            time_base = self._time_bases[packet.stream_index]
            begin_s = packet.pts * time_base
            self._first_of_all_s = min(self._first_of_all_s, begin_s)
            end_s = begin_s + (packet.duration or 0) * time_base
            self._last_end_of_all_s = max(self._last_end_of_all_s, end_s)
        if packet.pos is None or packet.pos < 0:
            return
        self._last_pos_of_all = max(self._last_pos_of_all, packet.pos)
        begin, end = packet.pos, packet.pos + packet.size
        last = self._others[-1] if self._others else [end, end]
        if last[0] <= begin <= last[1] + self._least_hole_bytes:  # no hole between them: one range
            last[1] = max(last[1], end)
        else:
            self._others.append([begin, end])

    def fail(self) -> None:
        """Register that the last packet cannot be decoded."""
        self._lost_packets += 1
        self._failed_at = self._packets

    def show(self, is_damaged: bool) -> None:
        """Register a decoded picture, in display order."""
        self._pictures += 1
        self._damaged_in_a_row = self._damaged_in_a_row + 1 if is_damaged else 0

    @property
    def frames_expected(self) -> int:
        """Approximate frame count according to the container; 0 if unknown."""
        duration_s, start_s = self._duration_s(), 0.0
        if self._format in _ONE_DURATION:  # counted from 0, wherever the first packet is
            start_s = (self._container.start_time or 0) / av.time_base
        shown_s = duration_s - start_s if 0 < start_s < duration_s else duration_s
        count, by_time = self._stream.frames, round(shown_s * self._rate_hz)
        if self._format == "ivf":  # some writers store clock ticks instead of frames
            return count if count == by_time else 0
        if self._format == "avi":  # its count includes empty frames
            return by_time
        if self._format == "mov" and self._file is None:  # in a pipe, only the first fragment is known
            return count
        return count or by_time

    def problem(self, is_read_through: bool = True) -> str | None:
        """Why the recording is incomplete; None if nothing shows that it is.

        Args:
            is_read_through: the demuxer reached the end; otherwise it gave up earlier.
        """
        is_cut = is_cut_off(self._file, max(self._last_pos, self._last_pos_of_all)) if self._file else None
        # a header may be wrong; an index and an end mark are written when the file is closed
        has_end = is_cut is False
        if self._lost_packets > max(LOST_PACKETS, LOST_SHARE * self._packets):
            return f"{self._lost_packets} packets cannot be decoded"
        if self._has_hole() or not (is_read_through or has_end):
            return "a part of the file cannot be read"
        if is_cut or self._is_torn() or self._has_torn_rest() or self._lacks_bytes():
            return "the file ends early"
        if not has_end and self._is_short_in_time():
            return "the file ends early"
        if missing := self._missing_packets():
            return f"{missing} packets listed in its index are missing"
        if self._format == "mov" and isinstance(self._file, Path) and holds_another(self._file):
            return "another recording follows in the same file and is not read"
        return None

    def _is_torn(self) -> bool:
        """The last packet is incomplete or cannot be decoded completely."""
        is_late = 0 < self._damaged_in_a_row <= TORN_PICTURES and self._pictures > TORN_PICTURES
        if self._ends_jpegs and self._last_packet and _JPEG_END not in bytes(self._last_packet):
            return True
        return self._is_last_torn or is_late or 0 < self._failed_at == self._packets

    def _is_short_in_time(self) -> bool:
        """The last packet ends well before the end stated by the container."""
        # a mov's edit list may skip any part (fragments have none); joined recordings have several clocks
        if self._has_run_back or (self._format == "mov" and self._stream.frames):
            return False
        all_first_s = min(self._first_s, self._first_of_all_s)
        all_end_s = max(self._last_end_s, self._last_end_of_all_s)
        if self._is_short(self._duration_s(), self._first_s, self._last_end_s):
            return True
        return self._reads_all and self._is_short(self._duration_of_all_s(), all_first_s, all_end_s)

    def _is_short(self, duration_s: float, first_s: float, end_s: float) -> bool:
        slack_s = max(2.5 / self._rate_hz, min(0.02 * duration_s, SHORT_S))
        # the stated duration counts from 0, or from the first packet if that comes after it
        begin_s = first_s if first_s < 0 or first_s > duration_s else 0.0
        return end_s - begin_s + slack_s < duration_s

    def _duration_s(self) -> float:
        """Of the stream, as stated by the container; 0 if unknown."""
        duration_s, is_alone = 0.0, len(self._container.streams) == 1
        has_own = self._format not in _ONE_DURATION and not self._is_estimated
        if self._format == "matroska" and (tag_s := matroska_duration_s(self._stream)) is not None:
            duration_s = tag_s
        elif self._stream.duration and has_own and (is_alone or self._format != "asf"):  # that of the longest
            duration_s = self._stream.duration * self._time_base
        elif is_alone:
            duration_s = self._duration_of_all_s()
        if self._format == "avi":  # libav reduces the duration to what is there, but not the count
            duration_s = max(duration_s, self._stream.frames * self._time_base)
        return duration_s

    def _duration_of_all_s(self) -> float:
        """Of the longest stream, as stated by the container; 0 if unknown."""
        return 0.0 if self._is_estimated else (self._container.duration or 0) / av.time_base

    def _look_for_hole(self, end: int) -> None:
        """Find the largest hole from the last packet up to `end` that other streams do not fill."""
        at, begin = self._last_end_bytes, self._last_end_bytes
        for other_begin, other_end in [*sorted(self._others_before + self._others), [end, end]]:
            if begin < other_end and other_begin <= end:
                if other_begin - at > self._hole_bytes:
                    self._hole_bytes, self._hole_at = other_begin - at, at
                at = max(at, other_end)

    def _has_hole(self) -> bool:
        if not self._steps_bytes:
            return False
        least_bytes = max(self._least_hole_bytes, HOLE_STEPS * median(self._steps_bytes))
        return self._hole_bytes > least_bytes and not self._is_stuffing()

    def _is_stuffing(self) -> bool:
        """Whether a hole is valid: MPEG-TS null packets, or dropped frames in AVI."""
        if self._format == "avi" and isinstance(self._file, Path):
            return goes_on_in_chunks(self._file, self._hole_at, self._hole_at + self._hole_bytes)
        middle = self._bytes(self._hole_at + self._hole_bytes // 2, _PROBED_BYTES)
        return self._format == "mpegts" and is_transport_stream(middle)

    def _has_torn_rest(self) -> bool:
        """Part of another frame follows the last of equal-sized frames."""
        begin = _FRAMES_OF_ONE_SIZE.get(self._format)
        if begin is None or len(self._sizes) != 1 or self._last_end_bytes >= self._container.size:
            return False
        return self._bytes(self._last_end_bytes, len(begin)) == begin

    def _lacks_bytes(self) -> bool:
        """The index of a mov refers to bytes beyond the end of the file."""
        ends = (entry.pos + entry.size for entry in self._stream.index_entries if self._format == "mov")
        return 0 < self._container.size < max(ends, default=0)

    def _missing_packets(self) -> int:
        """Number of packets in the index of a mov that were not read."""
        if self._format != "mov":
            return 0
        return max(0, sum(entry.size > 0 for entry in self._stream.index_entries) - self._packets)

    def _bytes(self, first: int, count: int) -> bytes:
        if not isinstance(self._file, Path):
            return b""
        try:
            with self._file.open("rb") as file:
                file.seek(max(0, first))
                return file.read(count)
        except OSError:
            return b""


def _time_base_s(stream: Stream) -> float:
    return float(stream.time_base or 1 / av.time_base)
