"""HLS and DASH: video in segments listed by a playlist, live or recorded, over HTTP or from files."""

from perception.sources.playlist.places import fetch_by
from perception.sources.playlist.playlist_source import PlaylistSource, is_live_playlist
from perception.sources.playlist.video import HEAD_BYTES, is_playlist

__all__ = ["HEAD_BYTES", "PlaylistSource", "fetch_by", "is_live_playlist", "is_playlist"]
