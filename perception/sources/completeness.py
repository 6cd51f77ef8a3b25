"""Whether a recording was read to its true end: libav ends quietly on one that was cut off or has a hole.

Each kind of container shows it in its own way. What is asked here are facts that the file itself states, and
the demuxer's and the decoder's own word; nothing is guessed from what recordings usually look like.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import Final

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

LOST_PACKETS: Final = 2
LOST_SHARE: Final = 0.02
"""More packets than both that cannot be decoded are a part of the recording, and not a spot."""
SHORT_S: Final = 1.0
"""That the last packet may lie before the end that is told: the length of a last frame is often not told."""
HOLE_SHARE: Final = 0.02
HOLE_STEPS: Final = 20
"""A hole between two packets is more than this share of the file, and than so many times their usual step."""
TORN_PICTURES: Final = 2
"""Damage that begins so late is the cut's; a picture or two may be shown after the one decoded last."""
_STEPS_KEPT: Final = 1000
_MATROSKA_DURATION: Final = r"(\d+):(\d+):(\d+\.?\d*)"
_FRAMES_OF_ONE_SIZE: Final = ("yuv4mpegpipe", "dv")
_TAIL_BYTES: Final = 1 << 17  # two pages of Ogg at their largest
_HEAD_BYTES: Final = 1 << 16
# The File Properties Object of ASF (WMV): its id, and where its fields lie behind that.
_ASF_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_SIZE_AT, _ASF_FLAGS_AT, _ASF_BROADCAST = 40, 88, 1
# NUT ends with its index, the last of which is its length and a checksum.
_NUT_INDEX: Final = bytes.fromhex("4e58dd672f23e64e")
_NUT_END_BYTES: Final = 12
_OGG_HEADER_BYTES, _OGG_LAST_PAGE = 27, 4


class Completeness:
    """Follows what is read of one video stream, and judges at the end.

    Args:
        container: open.
        stream: of it, that is read.
        rate_hz: nominal frames per second.
        file: on disk, whose own header and end are looked at too; None over a network.
    """

    def __init__(
        self, container: InputContainer, stream: VideoStream, rate_hz: float, file: Path | None = None
    ) -> None:
        self._container, self._stream, self._rate_hz, self._file = container, stream, rate_hz, file
        self._time_base = float(stream.time_base or 1 / av.time_base)
        self._format = container.format.name.split(",")[0]
        self._packets = self._lost_packets = 0
        self._first_s, self._last_end_s = 0.0, 0.0
        self._is_last_torn = self._has_run_back = False
        self._failed_at = self._pictures = self._damaged_in_a_row = 0
        self._sizes: set[int] = set()
        self._steps_bytes: list[int] = []
        self._largest_gap_bytes = 0
        self._last_pos = self._last_end_bytes = 0

    def read(self, packet: Packet[VideoStream]) -> None:
        """Take note of a packet with something in it."""
        self._packets += 1
        begin_s = (packet.pts or 0) * self._time_base
        self._has_run_back |= begin_s + SHORT_S < self._last_end_s
        self._first_s = min(self._first_s, begin_s)
        self._last_end_s = max(self._last_end_s, begin_s + (packet.duration or 0) * self._time_base)
        self._is_last_torn = packet.is_corrupt
        if packet.pos is None or packet.pos < 0:
            return
        if self._packets > 1:
            self._largest_gap_bytes = max(self._largest_gap_bytes, packet.pos - self._last_end_bytes)
            step_bytes = packet.pos - self._last_pos
            if step_bytes > 0 and len(self._steps_bytes) < _STEPS_KEPT:  # else of one page
                self._steps_bytes.append(step_bytes)
        self._last_pos, self._last_end_bytes = packet.pos, packet.pos + packet.size
        if len(self._sizes) < 2:
            self._sizes.add(packet.size)

    def fail(self) -> None:
        """The packet that was read last cannot be decoded."""
        self._lost_packets += 1
        self._failed_at = self._packets

    def show(self, is_damaged: bool) -> None:
        """Take note of a decoded picture, in the order of display."""
        self._pictures += 1
        self._damaged_in_a_row = self._damaged_in_a_row + 1 if is_damaged else 0

    @property
    def frames_expected(self) -> int:
        """About how many frames the container promises; 0 if it does not."""
        return self._stream.frames or round(self._duration_s() * self._rate_hz)

    def problem(self) -> str | None:
        """Why what was read is not all of the recording; None where nothing shows that."""
        if self._lost_packets > max(LOST_PACKETS, LOST_SHARE * self._packets):
            return f"{self._lost_packets} packets cannot be decoded"
        if self._has_hole():
            return "a part of the file cannot be read"
        if self._is_cut_off():
            return "the file ends early"
        return None

    def _is_cut_off(self) -> bool:
        if self._is_torn() or self._is_short_in_time() or self._has_torn_rest():
            return True
        match self._format:
            case "mov":
                ends = (entry.pos + entry.size for entry in self._stream.index_entries)
                return 0 < self._container.size < max(ends, default=0)
            case "asf":
                return self._is_short_asf()
            case "ogg":
                return self._lacks_last_page()
            case "nut":
                return self._lacks_index()
        return False

    def _is_torn(self) -> bool:
        """The last packet is not whole, or cannot be decoded as a whole."""
        is_late = 0 < self._damaged_in_a_row <= TORN_PICTURES and self._pictures > TORN_PICTURES
        return self._is_last_torn or is_late or 0 < self._failed_at == self._packets

    def _is_short_in_time(self) -> bool:
        """The last packet ends well before the end that the container tells."""
        # an edit list of mov may leave out any part of what is there, fragments have none; and of recordings
        # joined to one, each has a clock of its own
        if self._has_run_back or (self._format == "mov" and self._stream.frames):
            return False
        duration_s = self._duration_s()
        slack_s = max(2.5 / self._rate_hz, min(0.02 * duration_s, SHORT_S))
        return self._last_end_s - self._first_s + slack_s < duration_s

    def _duration_s(self) -> float:
        duration_s, is_alone = 0.0, len(self._container.streams) == 1
        if self._stream.duration and (is_alone or self._format != "asf"):  # asf tells that of the longest
            duration_s = self._stream.duration * self._time_base
        elif tag := re.fullmatch(_MATROSKA_DURATION, self._stream.metadata.get("DURATION", "")):
            duration_s = int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
        elif is_alone and self._container.duration:
            duration_s = self._container.duration / av.time_base
        if self._format == "avi":  # libav cuts the duration down to what is there, and leaves the count
            duration_s = max(duration_s, self._stream.frames * self._time_base)
        return duration_s

    def _has_hole(self) -> bool:
        if not self._steps_bytes or self._container.size < 1 or self._format == "mov":
            return False  # mov may keep its streams one behind the other
        if len(self._container.streams.video) > 1:
            return False  # the pictures of another stream lie between
        least_bytes = max(HOLE_SHARE * self._container.size, HOLE_STEPS * median(self._steps_bytes))
        return self._largest_gap_bytes > least_bytes

    def _has_torn_rest(self) -> bool:
        """Something lies behind the last of frames that are all of one size."""
        is_of_one_size = self._format in _FRAMES_OF_ONE_SIZE and len(self._sizes) == 1
        return is_of_one_size and self._last_end_bytes < self._container.size

    def _is_short_asf(self) -> bool:
        """The file is smaller than its header says; a broadcast's header does not know.

        libav gives no duration where they differ by more than a twentieth; else the duration tells.
        """
        if self._stream.duration:
            return False
        head = self._bytes(0, _HEAD_BYTES)
        at = head.find(_ASF_PROPERTIES)
        if at < 0 or len(head) <= at + _ASF_FLAGS_AT or head[at + _ASF_FLAGS_AT] & _ASF_BROADCAST:
            return False
        told_bytes = int.from_bytes(head[at + _ASF_SIZE_AT : at + _ASF_SIZE_AT + 8], "little")
        return 0 < self._container.size < told_bytes

    def _lacks_last_page(self) -> bool:
        """The last page of the file is torn, or does not say that it is the last of its stream."""
        tail = self._bytes(self._container.size - _TAIL_BYTES, _TAIL_BYTES)
        page = tail[max(0, tail.rfind(b"OggS\0")) :]
        if not page.startswith(b"OggS\0") or len(page) < _OGG_HEADER_BYTES:
            return bool(tail)
        segments = page[_OGG_HEADER_BYTES - 1]
        lengths = page[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + segments]
        is_torn = len(page) < _OGG_HEADER_BYTES + segments + sum(lengths)
        return is_torn or not page[5] & _OGG_LAST_PAGE

    def _lacks_index(self) -> bool:
        """The file does not end with the index that is written when it is closed."""
        size_bytes = self._container.size
        length = int.from_bytes(self._bytes(size_bytes - _NUT_END_BYTES, 8))
        return self._file is not None and self._bytes(size_bytes - length, 8) != _NUT_INDEX

    def _bytes(self, first: int, count: int) -> bytes:
        if self._file is None:
            return b""
        try:
            with self._file.open("rb") as file:
                file.seek(max(0, first))
                return file.read(count)
        except OSError:
            return b""
