"""The overlay: a prediction drawn over its frame, on YUV planes, which is much faster than on BGR."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from perception.frame import OutputItem, Prediction
from perception.sinks.overlay_areas import drawn_colours, tint_areas
from perception.sinks.overlay_canvas import (
    Canvas,
    Form,
    Stamp,
    blacken,
    copy_frame,
    fill,
    paint,
    place_of,
)
from perception.sinks.overlay_hatch import hatch
from perception.sinks.overlay_inset import draw_inset
from perception.sinks.overlay_marks import draw_marks
from perception.sinks.overlay_text import message_text, provider_text, time_text
from perception.sinks.overlay_writing import (
    BOLD,
    REGULAR,
    even,
    lines_of,
    plate_shape,
    text_px,
    text_shape,
    text_width_px,
)

__all__ = ["Canvas", "draw_key", "draw_overlay"]

_WHITE: Final = (255, 255, 255)
_BLACK: Final = (0, 0, 0)
_RED: Final = (200, 0, 0)
_AMBER: Final = (255, 200, 0)
_PLATE_OPACITY: Final = 0.55
_MOST_LINES: Final = 3


def draw_overlay(canvas: Canvas, output: OutputItem) -> None:
    """Fill the canvas with the frame, its areas, a status line, and a message if not all is well.

    With metres, distances are marked along the lane, and a panel below the status line shows the road from
    above.

    The status line, in the top right corner, has the age of a live picture or the time of a recording, and
    the colours of the areas. A message is black on amber if the view is poor but there is a mask. Without one
    it is white on red, across the whole frame, and the frame has a red border. What does not fit is left out.
    What is ignored is hatched.

    A frame of another size is resized to the canvas; one of another aspect ratio is centred on black. Without
    a frame the canvas is black, because the last frame would look like a current view.
    """
    place = place_of(canvas, output.frame) if isinstance(output, Prediction) else None
    if place is not canvas:
        blacken(canvas)
    if place is not None and isinstance(output, Prediction):
        copy_frame(place, output.frame)
    labels: Sequence[str] = ()
    if place is not None and isinstance(output, Prediction) and output.has_mask:
        if output.ignore_mask is not None:
            hatch(place, output.ignore_mask)
        tint_areas(place, output.class_map, output.labels)
        labels = output.labels
        draw_marks(place, output)
    text = "  ".join(filter(None, (time_text(output), provider_text(output))))
    plate = _status_plate(canvas.form, _Layout(canvas.frame_wh).width_of(text), tuple(labels))
    at = _Layout(canvas.frame_wh)
    top = at.margin + (at.line + at.margin if plate.width_px else 0)
    if message := message_text(output):
        top = max(top, _draw_message(canvas, message, plate.width_px, is_alarm=not output.has_mask))
    _draw_status(canvas, plate, text)
    if output.valid_metres is not None:
        draw_inset(canvas, output.valid_metres, at.text, at.margin, top)


def draw_key(canvas: Canvas, text: str, labels: Sequence[str]) -> None:
    """Some text and the colours and names of a network's classes, on a dark plate in the top right corner."""
    room_px = _Layout(canvas.frame_wh).width_of(text)
    _draw_status(canvas, _status_plate(canvas.form, room_px, tuple(labels)), text)


class _Layout:
    """Lengths in pixels for a size of frame, even ones."""

    def __init__(self, frame_wh: tuple[int, int]) -> None:
        self.width, self.height = frame_wh
        self.text = text_px(frame_wh)
        self.line = even(1.5 * self.text)
        self.margin = self.pad = even(0.5 * self.text)
        self.swatch = even(0.75 * self.text)
        self.radius = round(0.35 * self.text)

    def width_of(self, text: str, weight: int = REGULAR) -> int:
        """How much room a text takes."""
        return even(text_width_px(text, self.text, weight) + 1) if text else 0


def _draw_status(canvas: Canvas, plate: Stamp, text: str) -> None:
    if plate.width_px:
        at = _Layout(canvas.frame_wh)
        left = (at.width - at.margin - plate.width_px) // 2 * 2
        plate.put(canvas, (left, at.margin))
        paint(canvas, text_shape(text, at.text), (left + at.pad, at.margin), _WHITE)


@lru_cache(16)
def _status_plate(form: Form, text_room_px: int, labels: tuple[str, ...]) -> Stamp:
    """The plate with room for the text, and the key; in a small frame without the key, or empty."""
    at, colours = _Layout(form.frame_wh), drawn_colours(labels)
    key_px = sum(at.swatch + at.width_of(name) + 3 * at.pad for name in colours)
    text_room_px += 2 * at.pad if text_room_px else 0
    most_px = at.width - 2 * at.margin if at.margin + at.line <= at.height // 2 else 0
    if text_room_px + key_px > most_px:
        colours, key_px = {}, 0
    width_px = text_room_px + key_px
    if not 0 < width_px <= most_px:
        return Stamp((0, 0), form)
    stamp = Stamp((width_px, at.line), form)
    stamp.paint(plate_shape((width_px, at.line), at.radius, _PLATE_OPACITY), (0, 0), _BLACK)
    swatch = plate_shape((at.swatch, at.swatch), max(1, at.radius // 2), 1.0)
    left = text_room_px
    for name, colour_rgb in colours.items():
        left += at.pad
        stamp.paint(swatch, (left, even((at.line - at.swatch) / 2)), colour_rgb)
        left += at.swatch + at.pad
        stamp.paint(text_shape(name, at.text), (left, 0), _WHITE)
        left += at.width_of(name) + at.pad
    return stamp


def _draw_message(canvas: Canvas, text: str, status_px: int, is_alarm: bool) -> int:
    """Draw a message at the left: beside the status line if there is room, else below it.

    At the right, there is room below the row that is given back.

    Args:
        canvas: drawn on in place.
        text: the message.
        status_px: width of the status line; 0 without one.
        is_alarm: there is no mask.
    """
    at, weight = _Layout(canvas.frame_wh), BOLD if is_alarm else REGULAR
    room_px = at.width - 2 * at.margin - 2 * at.pad
    top = at.margin
    beside_px = room_px - (status_px and status_px + at.margin)
    is_beside = at.width_of(text, weight) <= beside_px or beside_px > room_px / 2
    if is_beside:
        room_px = beside_px
    else:
        top += at.line + at.margin
    bottom = at.height // 4 * 2  # the lower half, with the road, stays free
    most = min(_MOST_LINES, (bottom - top) // at.line)
    lines = lines_of(text, room_px, at.text, weight, most) if most > 0 and room_px >= at.text else []
    height_px = max(1, len(lines)) * at.line
    if is_alarm:
        _draw_border(canvas, max(2, even(at.text / 4)))
    if is_alarm or not lines:
        colour = _RED if is_alarm else _AMBER
        fill(canvas, (0, 0, at.width, min(bottom, top + height_px + at.margin)), colour)
    else:
        width_px = max(at.width_of(line, weight) for line in lines) + 2 * at.pad
        paint(canvas, plate_shape((width_px, height_px), at.radius, 1.0), (at.margin, top), _AMBER)
    for line in lines:
        shape = text_shape(line, at.text, weight)
        paint(canvas, shape, (at.margin + at.pad, top), _WHITE if is_alarm else _BLACK)
        top += at.line
    return 0 if is_beside else top + at.margin


def _draw_border(canvas: Canvas, border_px: int) -> None:
    width, height = canvas.frame_wh
    right, bottom = max(0, width - border_px), max(0, height - border_px)
    fill(canvas, (0, bottom, width, border_px), _RED)
    fill(canvas, (0, 0, border_px, height), _RED)
    fill(canvas, (right, 0, border_px, height), _RED)
