"""Selects the video stream of an open container."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from perception.sources.choice import Choice, Offer, choice_note
from perception.sources.decoding.completeness import matroska_duration_s, reads_all_streams
from perception.sources.source import SourceError

_COVERS: Final = Disposition.attached_pic
_STILLS: Final = _COVERS | Disposition.timed_thumbnails | Disposition.still_image
_ASIDE: Final = (
    Disposition.dependent | Disposition.visual_impaired | Disposition.hearing_impaired | Disposition.comment
)
_IMAGE_CODECS: Final = ("mjpeg", "png", "apng", "webp", "bmp", "gif", "tiff", "jpeg2000", "jpegls")
_FEW, _MANY = 3, 10  # AVI counts up to three frames in a track with one picture


class NoVideo(SourceError):
    """There is no decodable video."""


def chosen_stream(container: InputContainer, choice: Choice, name: str) -> tuple[VideoStream, str]:
    """The video stream to read, and a note on the choice for the log.

    Other streams are discarded by the demuxer, unless they are needed to judge whether the file is complete.

    Args:
        container: open.
        choice: as requested.
        name: of the file or stream, for errors.

    Raises:
        SourceError: if there is no video, no decoder for it, or not the one requested.
    """
    streams = container.streams.video
    if all(stream.disposition & _COVERS for stream in streams) and (choice.index is None or not streams):
        raise NoVideo(f"{name}: has no video stream")
    offers = _offers(streams)
    try:
        index = choice.among(offers)
    except SourceError as error:
        raise SourceError(f"{name}: {error}") from None
    stream = streams[index]
    if stream.codec_context is None:
        raise NoVideo(f"{name}: no decoder for its video; convert it to H.264")
    if not reads_all_streams(container, stream):
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
    return stream, choice_note(offers, index)


def _offers(streams: Sequence[VideoStream]) -> list[Offer]:
    counts = [_frames_of(stream) for stream in streams]
    most = max(counts, default=0)
    has_rate = any(stream.average_rate for stream in streams)
    offers = []
    for stream, count in zip(streams, counts, strict=True):
        codec = stream.codec_context
        name = codec.name if codec is not None else "unknown"
        is_image = name in _IMAGE_CODECS
        is_one = 0 < count < most and (count == 1 or (is_image and count <= _FEW and count * _MANY <= most))
        is_still = bool(stream.disposition & _STILLS) or is_one
        if is_image and has_rate and not count and not stream.average_rate:  # a single picture has no rate
            is_still = True
        wh = (codec.width, codec.height) if codec is not None else (0, 0)
        offers.append(
            Offer(
                what=f"{name} {wh[0]}x{wh[1]}" if all(wh) else name,
                wh=wh,
                is_decodable=codec is not None,
                is_still=is_still,
                is_default=bool(stream.disposition & Disposition.default),
                is_aside=bool(stream.disposition & _ASIDE),
            )
        )
    return offers


def _frames_of(stream: VideoStream) -> int:
    """Approximate frame count according to the container; 0 if unknown."""
    return stream.frames or round((matroska_duration_s(stream) or 0.0) * float(stream.average_rate or 0))
