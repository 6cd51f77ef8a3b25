"""What playlists say of codecs (RFC 6381), and whether there is a decoder for it."""

from __future__ import annotations

from typing import Final

import av

_DECODERS: Final = {
    **{"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc", "av01": "libdav1d", "vp09": "vp9"},
    **{"vp9": "vp9", "vp08": "vp8", "vp8": "vp8", "mp4v": "mpeg4", "vvc1": "vvc", "vvi1": "vvc"},
    **{"dvh1": "hevc", "dvhe": "hevc"},
}
_SOUND_AND_TEXT: Final = (
    *("mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac", "vorbis", "mp3", "stpp", "wvtt"),
    *("dtsc", "dtse", "mha1", "mhm1"),
)


def videos_among(codecs: str) -> list[str]:
    """The names of those that are no sound or text, without their profiles."""
    names = [codec.strip().split(".")[0].lower() for codec in codecs.split(",")]
    return [name for name in names if name and name not in _SOUND_AND_TEXT]


def are_decodable(codecs: str) -> bool:
    """Whether there is a decoder for each video; also where no codec is told."""
    return all(_DECODERS.get(name) in av.codecs_available for name in videos_among(codecs))
