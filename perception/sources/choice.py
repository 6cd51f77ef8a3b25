"""The `--stream` option: chooses among the streams of a file or camera, or the variants of a playlist."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perception.sources.source import SourceError

BEST: Final = "best"
PROXY_SHARE: Final = 0.25
"""A default stream with less than this share of the pixels of another is a preview of it."""
LISTED: Final = 6
"""Other streams that are listed in the log."""


@dataclass(frozen=True)
class Offer:
    """A video that can be chosen."""

    what: str
    """For the log, such as `h264 1920x1080`."""
    wh: tuple[int, int] = (0, 0)
    """Width and height in pixels; zeros if unknown."""
    is_decodable: bool = True
    is_still: bool = False
    """A single picture that accompanies a video: cover, thumbnail, preview."""
    is_default: bool = False
    is_aside: bool = False
    """Supplements or replaces another: accessibility, commentary, enhancement."""
    rank: float = 0.0
    """Breaks ties, higher is better: bits per second if known."""

    @property
    def pixels(self) -> int:
        """Per picture."""
        return self.wh[0] * self.wh[1]


@dataclass(frozen=True)
class Choice:
    """A parsed `--stream` option."""

    index: int | None = None
    most_wh: tuple[int, int] | None = None

    @classmethod
    def of(cls, text: str) -> Choice:
        """Parse `best`, an index from 0, or a size such as `1280x720`; raises ValueError."""
        if text == BEST:
            return cls()
        if re.fullmatch(r"\d{1,6}", text):
            return cls(index=int(text))
        size = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text)
        if size is None or not int(size[1]) * int(size[2]):
            raise ValueError(f"stream is {text!r}; it must be {BEST}, an index from 0, or a size as 1280x720")
        return cls(most_wh=(int(size[1]), int(size[2])))

    def among(self, offers: Sequence[Offer]) -> int:
        """The index of the chosen offer.

        The best can be decoded, is a video, is the default (unless that is a small preview of another), and
        has the most pixels; the first of several equal ones. A size chooses the largest that fits within it,
        or the smallest if none does.

        Raises:
            SourceError: if the index does not exist; the message lists the streams.
        """
        if self.index is not None:
            if self.index >= len(offers):
                listed = "; ".join(f"{index}: {_summary(offer)}" for index, offer in enumerate(offers))
                raise SourceError(f"has no video stream {self.index}; it has {listed}")
            return self.index
        sound = [
            offer for offer in offers if offer.is_decodable and not offer.is_still and not offer.is_aside
        ]
        if self.most_wh is not None and sound:
            return offers.index(self._by_size(sound, self.most_wh))
        most_pixels = max((offer.pixels for offer in sound), default=0)

        def goodness(offer: Offer) -> tuple[float, ...]:
            is_default = offer.is_default and offer.pixels >= PROXY_SHARE * most_pixels
            return (
                *(offer.is_decodable, not offer.is_still, not offer.is_aside),
                *(is_default, offer.pixels, offer.rank),
            )

        return max(range(len(offers)), key=lambda index: goodness(offers[index]))  # the first maximum

    @staticmethod
    def _by_size(offers: Sequence[Offer], most_wh: tuple[int, int]) -> Offer:
        fitting = [o for o in offers if o.pixels > 0 and o.wh[0] <= most_wh[0] and o.wh[1] <= most_wh[1]]
        if fitting:
            return max(fitting, key=lambda offer: (offer.pixels, offer.rank))
        return min(offers, key=lambda offer: (offer.pixels, offer.rank))


def choice_note(offers: Sequence[Offer], chosen: int, noun: str = "stream") -> str:
    """For the log, such as `stream 1 of 2 (0: mjpeg 480x270, one picture)`; empty if there was no choice."""
    if len(offers) < 2:
        return ""
    others = [f"{index}: {_summary(offer)}" for index, offer in enumerate(offers) if index != chosen]
    more = f"; and {len(others) - LISTED} more" if len(others) > LISTED else ""
    return f"{noun} {chosen} of {len(offers)} ({'; '.join(others[:LISTED])}{more})"


def _summary(offer: Offer) -> str:
    notes = ["one picture"] * offer.is_still + ["no decoder"] * (not offer.is_decodable)
    return ", ".join([offer.what, *notes])
