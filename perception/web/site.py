"""What a run serves over HTTP: nothing, or endpoints and live page, whose packages are loaded only then."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, Self

from perception.cli.log import show
from perception.frame import OutputItem
from perception.metrics.histogram import Histogram
from perception.ros.settings import RosSettings
from perception.sources.source import SourceInfo
from perception.telemetry.health import HealthReport
from perception.web.changes import ChangeableSources
from perception.web.settings import HttpSettings

if TYPE_CHECKING:
    from perception.web.foxglove import Foxglove
    from perception.web.pictures import Pictures
    from perception.web.server import Endpoints, Served

log = logging.getLogger(__name__)


class SitePart(NamedTuple):
    """What is served of one source."""

    name: str | None
    """Of one of several sources, below whose name its page is."""
    report: Callable[[], HealthReport]
    """The health now; called at every request, from other threads."""
    age: Histogram
    """From capture to publication."""
    stages: Mapping[str, Histogram]
    """Times by stage; stages may be added while the node runs."""


class Site:
    """The endpoints and the page of one run.

    Args:
        endpoints: None serves nothing.
        ros: how topics and coordinate frames are named.
        opens: show the page in the desktop's browser.
    """

    def __init__(self, endpoints: Endpoints | None, ros: RosSettings, *, opens: bool = False) -> None:
        self._endpoints, self._ros, self._opens = endpoints, ros, opens
        self._viewed: dict[str | None, tuple[Pictures, Foxglove]] = {}
        """By the source's name, of several."""

    @classmethod
    def of(cls, settings: HttpSettings, ros: RosSettings) -> Self:
        """What the settings ask for."""
        if settings.http is None:
            return cls(None, ros)
        from perception.web.server import Endpoints

        endpoints = Endpoints(
            *(settings.http, settings.http_hosts, settings.http_token),
            allows_changes=bool(settings.http_sources),
        )
        return cls(endpoints, ros, opens=settings.open)

    def listeners(self, info: SourceInfo, name: str | None = None) -> list[Callable[[OutputItem], None]]:
        """Who has to get every output of a run.

        Args:
            name: of one of several sources.
        """
        if self._endpoints is None:
            return []
        from perception.web.foxglove import Foxglove
        from perception.web.pictures import Pictures

        pictures = Pictures(info)
        self._viewed[name] = pictures, Foxglove(info, pictures, self._endpoints.viewing, self._ros)
        return [pictures.record]

    def start(self, parts: Sequence[SitePart], sources: ChangeableSources | None = None) -> None:
        """Listen, and say where.

        Args:
            parts: one without a name, or several with theirs.
            sources: which they are; None for the only one.

        Raises:
            EndpointsError: if the address cannot be listened on.
        """
        endpoints = self._endpoints
        if endpoints is None:
            return
        endpoints.start([self._served(part) for part in parts], sources)
        log.info(f"http: live page, /healthz, /readyz and /metrics on port {endpoints.port}")
        if endpoints.is_open_to_all:
            log.warning(f"http_token none: whoever reaches port {endpoints.port} sees the camera's pictures")
        url = endpoints.page_url
        # past the log, which hides tokens; a loopback address has none, and interests only who sits here
        if endpoints.token or sys.stderr.isatty():
            show(f"live page: {url}\n")
        if endpoints.change_token is not None and not endpoints.token:
            show(f"token for /sources: {endpoints.change_token}\n")
        if self._opens:
            Thread(target=_open_browser, args=(url,), name="browser", daemon=True).start()

    def serve(self, part: SitePart) -> None:
        """Serve one more of several sources, from any thread."""
        if self._endpoints is not None:
            self._endpoints.serve(self._served(part))

    def withdraw(self, name: str, missing: str | None = None) -> None:
        """Serve one of several sources no more, from any thread, and end those who look at it.

        Args:
            missing: as of `Endpoints.withdraw`.
        """
        if self._endpoints is not None:
            self._endpoints.withdraw(name, missing)
        if (viewed := self._viewed.pop(name, None)) is not None:
            for each in viewed:
                each.close()

    def close(self) -> None:
        """Serve nothing any more. Safe to call twice."""
        if self._endpoints is not None:
            self._endpoints.close()

    def _served(self, part: SitePart) -> Served:
        from perception.web.server import Served

        pictures, foxglove = self._viewed.get(part.name, (None, None))
        return Served(*part, pictures, [foxglove.route()] if foxglove else ())


def _open_browser(url: str) -> None:
    import webbrowser  # only here, because few ask for it

    if not webbrowser.open(url):
        log.warning("open: there is no browser to open the live page in")
