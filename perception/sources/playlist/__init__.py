"""HLS and DASH: video in segments listed by a playlist, live or recorded, over HTTP or from files."""

from perception.sources.playlist.places import fetch_by
from perception.sources.playlist.playlist_source import PlaylistSource
from perception.sources.playlist.video import is_playlist

__all__ = ["PlaylistSource", "fetch_by", "is_playlist"]
