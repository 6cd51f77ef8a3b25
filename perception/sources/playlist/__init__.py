"""Video in segments that a playlist names: HLS and DASH, live and recorded, over HTTP and from files."""

from perception.sources.playlist.places import WebPlaces
from perception.sources.playlist.playlist_source import PlaylistSource, is_live_playlist
from perception.sources.playlist.video import HEAD_BYTES, is_playlist

__all__ = ["HEAD_BYTES", "PlaylistSource", "WebPlaces", "is_live_playlist", "is_playlist"]
