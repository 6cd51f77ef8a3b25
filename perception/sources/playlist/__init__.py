"""Video in segments that a playlist names: HLS, live and recorded, over HTTP and from files."""

from perception.sources.playlist.places import WebPlaces
from perception.sources.playlist.playlist_source import PlaylistSource, is_live_playlist
from perception.sources.playlist.video import is_playlist

__all__ = ["PlaylistSource", "WebPlaces", "is_live_playlist", "is_playlist"]
