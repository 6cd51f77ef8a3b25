"""Foxglove's WebSocket protocol: what is published, live, as ROS 2 messages in CDR."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from perception.ros.settings import RosSettings
from perception.sources.source import SourceInfo
from perception.system.error_text import text_of
from perception.web.connections import TooManyViewersError
from perception.web.pictures import NoMorePicturesError, Pictures, Published

if TYPE_CHECKING:
    from perception.ros.messages import RosEncoder, RosMessage

log = logging.getLogger(__name__)

SUBPROTOCOLS: Final = ("foxglove.sdk.v1", "foxglove.websocket.v1")
"""Foxglove asks for the first, older viewers for the second; they differ in nothing that is used here."""
NEXT_WAIT_S: Final = 5.0
_MESSAGE_DATA: Final = struct.Struct("<BIQ")  # opcode 1, the client's number of the subscription, time in ns
_WARNING: Final = 1
_HIGHEST_NUMBER: Final = 2**32 - 1

Subscriptions = dict[str, int]
"""Of one client: the numbers that it gave, by topic."""


class Foxglove:
    """The topics of one run, for any number of clients.

    A client gets of each topic that it subscribed to the newest message, and the next when it has taken that
    one. A message is encoded once for all clients, and only if one of them wants it.

    Args:
        info: of the source.
        pictures: that know the newest output.
        viewing: as of `Endpoints`.
        settings: prefix of the topics, and coordinate frames.
    """

    def __init__(
        self,
        info: SourceInfo,
        pictures: Pictures,
        viewing: Callable[[Any], AbstractContextManager[None]],
        settings: RosSettings,
    ) -> None:
        self._info, self._pictures, self._viewing, self._settings = info, pictures, viewing, settings
        self._session = secrets.token_hex(8)
        self._worker = ThreadPoolExecutor(1, "foxglove")
        self._encoding: dict[str, tuple[int, asyncio.Task[RosMessage | None]]] = {}
        self._encoder: RosEncoder | None = None
        self._channels: list[dict[str, Any]] = []
        self._is_reported = False

    def route(self) -> WebSocketRoute:
        """A WebSocket at the address of the page."""
        return WebSocketRoute("/", self._serve)

    def close(self) -> None:
        """Encode no more; from any thread."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, socket: WebSocket) -> None:
        spoken = next((name for name in SUBPROTOCOLS if name in socket.scope["subprotocols"]), None)
        if spoken is None:
            await _refuse(socket, HTTPStatus.BAD_REQUEST, f"the subprotocols are {', '.join(SUBPROTOCOLS)}")
            return
        try:
            encoder = await self._in_worker(self._prepared)
        except ImportError as error:
            needed = f"a package is not installed ({text_of(error)}); pip install 'drivable[foxglove]'"
            if not self._is_reported:  # viewers do not show why they were refused
                log.warning(f"http: a viewer of Foxglove's protocol was refused: {needed}")
                self._is_reported = True
            await _refuse(socket, HTTPStatus.NOT_IMPLEMENTED, needed)
            return
        try:
            with (
                self._viewing(socket.scope),
                suppress(WebSocketDisconnect, TimeoutError, NoMorePicturesError),
            ):
                await socket.accept(spoken)
                await self._talk(socket, encoder)
        except TooManyViewersError:
            await _refuse(socket, HTTPStatus.SERVICE_UNAVAILABLE, "too many viewers")

    def _prepared(self) -> RosEncoder:
        """The encoder, whose packages take a while to load."""
        if self._encoder is None:
            from perception.ros.messages import RosEncoder
            from perception.ros.types import definition

            settings = self._settings
            self._encoder = RosEncoder(
                *(self._info, settings.prefix, settings.frame_id), base_frame_id=settings.base_frame_id
            )
            self._channels = [
                {
                    "id": number,
                    "topic": topic,
                    "encoding": "cdr",
                    "schemaName": type_name,
                    "schemaEncoding": "ros2msg",
                    "schema": definition(type_name),
                }
                for number, (topic, type_name) in enumerate(self._encoder.topics.items(), 1)
            ]
        return self._encoder

    async def _talk(self, socket: WebSocket, encoder: RosEncoder) -> None:
        """Greet, and then listen and send until the client has gone."""
        hello = {"op": "serverInfo", "name": "drivable", "capabilities": [], "sessionId": self._session}
        await socket.send_json(hello)
        await socket.send_json({"op": "advertise", "channels": self._channels})
        subscriptions: Subscriptions = {}
        is_changed = asyncio.Event()
        both = [
            asyncio.create_task(self._listen(socket, encoder, subscriptions, is_changed)),
            asyncio.create_task(self._send(socket, encoder, subscriptions, is_changed)),
        ]
        try:
            ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _listen(
        self,
        socket: WebSocket,
        encoder: RosEncoder,
        subscriptions: Subscriptions,
        is_changed: asyncio.Event,
    ) -> None:
        topics = {channel["id"]: channel["topic"] for channel in self._channels}
        while (asked := await socket.receive())["type"] != "websocket.disconnect":
            before = set(subscriptions)
            if problem := _apply(asked.get("text"), topics, subscriptions):
                await socket.send_json({"op": "status", "level": _WARNING, "message": problem})
            if added := set(subscriptions) - before:
                for message in (it for it in encoder.latched() if it.topic in added):
                    await socket.send_bytes(_data(message, subscriptions[message.topic], message.stamp_ns))
            is_changed.set()

    async def _send(
        self,
        socket: WebSocket,
        encoder: RosEncoder,
        subscriptions: Subscriptions,
        is_changed: asyncio.Event,
    ) -> None:
        seen = -1
        while True:
            while not subscriptions:
                is_changed.clear()
                await is_changed.wait()
            published = await self._pictures.after(seen, NEXT_WAIT_S)
            if published is None or published.number <= seen:
                continue
            seen = published.number
            trace = published.output.trace
            for topic in list(subscriptions):
                message = await self._message(encoder, published, topic)
                if message is not None and topic in subscriptions:
                    time_ns = trace.published_utc_ns if trace else message.stamp_ns
                    await socket.send_bytes(_data(message, subscriptions[topic], time_ns))

    async def _message(self, encoder: RosEncoder, published: Published, topic: str) -> RosMessage | None:
        """That of an output; who wants the same one waits for the same encoding."""
        number, task = self._encoding.get(topic, (-1, None))
        if task is None or number != published.number:
            task = asyncio.create_task(self._in_worker(_encoded, encoder, published, topic))
            self._encoding[topic] = published.number, task
        return await asyncio.shield(task)  # one client that goes takes it from no other

    async def _in_worker(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            made = asyncio.get_running_loop().run_in_executor(self._worker, call, *arguments)
        except RuntimeError:  # it is closed
            raise NoMorePicturesError from None
        return await made


def _encoded(encoder: RosEncoder, published: Published, topic: str) -> RosMessage | None:
    return next(iter(encoder.encode(published.output, {topic})), None)


def _data(message: RosMessage, subscription: int, time_ns: int) -> bytes:
    return _MESSAGE_DATA.pack(1, subscription, time_ns) + message.data


def _apply(text: str | None, topics: Mapping[int, str], subscriptions: Subscriptions) -> str | None:
    """Do what a client asks; what is wrong with it, for the client to show, or None."""
    try:
        asked = json.loads(text or "")
        match asked["op"]:
            case "subscribe":
                added = {topics[int(it["channelId"])]: int(it["id"]) for it in asked["subscriptions"]}
                if not all(0 <= number <= _HIGHEST_NUMBER for number in added.values()):
                    raise ValueError
                subscriptions.update(added)
            case "unsubscribe":
                ended = {int(number) for number in asked["subscriptionIds"]}
                for topic in [topic for topic, number in subscriptions.items() if number in ended]:
                    del subscriptions[topic]
            case _:
                return "this server only sends what it publishes"
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError):
        return "not a message of Foxglove's WebSocket protocol, or no such channel"
    return None


async def _refuse(socket: WebSocket, status: HTTPStatus, why: str) -> None:
    await socket.send_denial_response(PlainTextResponse(f"{why}\n", status))
