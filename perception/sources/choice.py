"""Which of several videos is read: of a file's streams, a camera's, or a playlist's variants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perception.sources.source import SourceError

BEST: Final = "best"
PROXY_SHARE: Final = 0.25
"""Of the pixels of another stream: with fewer, one marked as the default is a preview of that."""
TOLD: Final = 6
"""So many streams that were left are named in the log."""


@dataclass(frozen=True)
class Offer:
    """One video that could be read."""

    what: str
    """For the log, such as `h264 1920x1080`."""
    wh: tuple[int, int] = (0, 0)
    """Width and height in pixels; zeros where nothing tells them."""
    is_decodable: bool = True
    is_still: bool = False
    """One picture beside a video: a cover, a thumbnail, a preview."""
    is_default: bool = False
    is_aside: bool = False
    """Meant to be shown with or instead of another: for impaired people, a comment, an enhancement."""
    rank: float = 0.0
    """Of equals the one with more is the better: bits a second, where they are told."""

    @property
    def pixels(self) -> int:
        """Of a picture."""
        return self.wh[0] * self.wh[1]


@dataclass(frozen=True)
class Choice:
    """What `--stream` asks for."""

    index: int | None = None
    most_wh: tuple[int, int] | None = None

    @classmethod
    def of(cls, text: str) -> Choice:
        """Read `best`, an index from 0, or a size such as `1280x720`; raises ValueError."""
        if text == BEST:
            return cls()
        if re.fullmatch(r"\d{1,6}", text):
            return cls(index=int(text))
        size = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text)
        if size is None or not int(size[1]) * int(size[2]):
            raise ValueError(f"stream is {text!r}; it must be {BEST}, an index from 0, or a size as 1280x720")
        return cls(most_wh=(int(size[1]), int(size[2])))

    def among(self, offers: Sequence[Offer]) -> int:
        """The index of the offer that is taken.

        The best is what can be decoded and moves, is the default (unless that is a small preview of another),
        and has the most pixels; of equals the first. A size takes the largest that is not larger, and the
        smallest where all are.

        Raises:
            SourceError: if there is none of that index; the message lists what is there.
        """
        if self.index is not None:
            if self.index >= len(offers):
                there = "; ".join(f"{index}: {_told(offer)}" for index, offer in enumerate(offers))
                raise SourceError(f"has no video stream {self.index}; it has {there}")
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

        return max(range(len(offers)), key=lambda index: goodness(offers[index]))  # of equals the first

    @staticmethod
    def _by_size(offers: Sequence[Offer], most_wh: tuple[int, int]) -> Offer:
        fitting = [o for o in offers if o.pixels > 0 and o.wh[0] <= most_wh[0] and o.wh[1] <= most_wh[1]]
        if fitting:
            return max(fitting, key=lambda offer: (offer.pixels, offer.rank))
        return min(offers, key=lambda offer: (offer.pixels, offer.rank))


def choice_told(offers: Sequence[Offer], chosen: int, noun: str = "stream") -> str:
    """For the line that tells the source, such as `stream 1 of 2 (0: mjpeg 480x270, one picture)`.

    Empty where there was no choice.
    """
    if len(offers) < 2:
        return ""
    others = [f"{index}: {_told(offer)}" for index, offer in enumerate(offers) if index != chosen]
    more = f"; and {len(others) - TOLD} more" if len(others) > TOLD else ""
    return f"{noun} {chosen} of {len(offers)} ({'; '.join(others[:TOLD])}{more})"


def _told(offer: Offer) -> str:
    notes = ["one picture"] * offer.is_still + ["no decoder"] * (not offer.is_decodable)
    return ", ".join([offer.what, *notes])
