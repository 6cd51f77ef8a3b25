"""Cameras that send JPEG pictures over HTTP, each at a rate of its own; they can freeze."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import cv2

from perception.synthetic import DriveRenderer

PICTURES = 40


class Cameras(ThreadingHTTPServer):
    """A server on the loopback interface with a stream for each camera.

    Args:
        rates_hz: by the camera's name.
    """

    daemon_threads = True

    def __init__(self, rates_hz: Mapping[str, float]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rates_hz, self.frozen = rates_hz, set[str]()
        drive = DriveRenderer("highway", (1280, 720))
        self.pictures = [
            cv2.imencode(".jpg", drive.render(number)[0], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
            for number in range(PICTURES)
        ]

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def source(self, name: str) -> str:
        """As the node takes it."""
        return f"{name}=http://127.0.0.1:{self.server_port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: Cameras

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        due_s, number = time.monotonic(), 0
        try:
            while True:
                due_s += 1 / self.server.rates_hz[name]
                time.sleep(max(0.0, due_s - time.monotonic()))
                if name in self.server.frozen:
                    continue
                jpeg = self.server.pictures[number % PICTURES]
                number += 1
                head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
        except OSError:
            pass  # the reader has gone

    def log_message(self, *_: object) -> None:
        pass
