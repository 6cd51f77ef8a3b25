"""A camera over HTTP whose pictures say when they were taken: python stamped_camera.py WIDTH HEIGHT RATE_HZ.

It prints its port, then takes the command `freeze`, and answers with the time of the last picture.
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Final

import cv2
import numpy as np

BITS: Final = 16
"""The overlay's status line covers what is right of the middle."""
CELL_PX: Final = 16
WRAP_MS: Final = 1 << BITS
PICTURES: Final = 50


def now_ms() -> int:
    """Wall clock, which a browser on this machine has too."""
    return round(time.time() * 1000)


def stamp(image_bgr: np.ndarray[Any, Any], time_ms: int) -> None:
    """Write a time into the top row of cells, the lowest bit first."""
    for bit in range(BITS):
        left = bit * CELL_PX
        image_bgr[:CELL_PX, left : left + CELL_PX] = 255 * (time_ms >> bit & 1)


class Camera:
    """Serves a rendered road as MJPEG."""

    def __init__(self, wh: tuple[int, int], rate_hz: float) -> None:
        from perception.synthetic import DriveRenderer

        renderer = DriveRenderer("day", wh, rate_hz, 0)
        self._pictures = [renderer.render(number)[0] for number in range(PICTURES)]
        self._period_s, self._lock = 1 / rate_hz, Lock()
        self._is_frozen = Event()
        self._last_ms = 0

    def freeze(self) -> int:
        """Send no more; the time of the last picture."""
        with self._lock:
            self._is_frozen.set()
            return self._last_ms

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Send pictures until the other side goes."""
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
        request.end_headers()
        due_s, number = time.monotonic(), 0
        try:
            while True:
                image_bgr = self._pictures[number % PICTURES].copy()
                with self._lock:
                    if self._is_frozen.is_set():
                        break
                    self._last_ms = now_ms()
                    stamp(image_bgr, self._last_ms)
                    jpeg = cv2.imencode(".jpg", image_bgr, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes()
                    head = b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
                    request.wfile.write(head + jpeg + b"\r\n")
                due_s, number = due_s + self._period_s, number + 1
                time.sleep(max(0.0, due_s - time.monotonic()))
            time.sleep(60)  # the connection stands, and nothing comes
        except OSError:
            pass


def main() -> None:
    """Serve until standard input ends."""
    width, height, rate_hz = sys.argv[1:]
    camera = Camera((int(width), int(height)), float(rate_hz))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            camera.serve(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    for line in sys.stdin:
        if line.strip() == "freeze":
            print(camera.freeze(), flush=True)


if __name__ == "__main__":
    main()
