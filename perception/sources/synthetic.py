"""A rendered drive as a source: needs no file and no camera, and knows the true class of every pixel."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame
from perception.sources.kind import SourceKind, TypedSource
from perception.sources.settings import SourceSettings
from perception.sources.source import EndOfSource, Source, SourceError, SourceInfo

if TYPE_CHECKING:
    from perception.synthetic import DriveRenderer


@dataclass(frozen=True)
class SyntheticSettings:
    """The built-in renderer."""

    wh: tuple[int, int] = (1280, 720)
    """Width and height in pixels."""
    rate_hz: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.rate_hz <= 0 or min(self.wh) < 1:
            raise ValueError("synthetic.rate_hz and both sides of synthetic.wh must be above 0")


class SyntheticSource(Source):
    """An endless recording, unless `frames` limits it; the same arguments give the same bytes.

    Args:
        scene: name of a scene of the renderer.
        frame_wh: width and height of the frames, in pixels.
        rate_hz: frames per second of the drive's own time.
        seed: another seed is another road and other traffic.
        frames: number of frames; None for no end.
    """

    def __init__(
        self,
        scene: str = "mixed",
        frame_wh: tuple[int, int] = (1280, 720),
        rate_hz: float = 30.0,
        seed: int = 0,
        frames: int | None = None,
    ) -> None:
        self._scene, self._frame_wh, self._rate_hz, self._seed = scene, frame_wh, rate_hz, seed
        self._frames = frames
        self._renderer: DriveRenderer | None = None
        self._next_id = 0

    def open(self) -> SourceInfo:
        """Build the road; raises SourceError with the known scenes if this one is unknown."""
        from perception.synthetic import DriveRenderer  # its import builds meshes that no other source needs

        try:
            self._renderer = DriveRenderer(self._scene, self._frame_wh, self._rate_hz, self._seed)
        except ValueError as error:
            raise SourceError(f"synthetic:{self._scene}: {error}") from error
        self._next_id = 0
        description = f"rendered drive, scene {self._scene}, seed {self._seed}"
        return SourceInfo(f"synthetic:{self._scene}", False, self._frame_wh, self._rate_hz, description)

    def read(self) -> Frame:
        """Render the next frame."""
        if self._frames is not None and self._next_id >= self._frames:
            raise EndOfSource
        image_bgr, _ = self._opened().render(self._next_id)
        frame_id = self._next_id
        self._next_id += 1
        return Frame(
            source_id=f"synthetic:{self._scene}",
            frame_id=frame_id,
            captured_ns=time.monotonic_ns(),
            time_ns=round(frame_id * 1e9 / self._rate_hz),
            pixels=image_bgr,
            name=f"{frame_id:06d}",
        )

    def truth(self, frame_id: int) -> NDArray[np.uint8]:
        """(H, W) uint8 exact class map of any frame, read or not."""
        class_map: NDArray[np.uint8] = self._opened().render(frame_id)[1]
        return class_map

    def close(self) -> None:
        """Release the road."""
        self._renderer = None

    def _opened(self) -> DriveRenderer:
        if self._renderer is None:
            raise SourceError(f"synthetic:{self._scene}: not open")
        return self._renderer


def _claims(typed: TypedSource) -> str | None:
    return typed.text if re.fullmatch(r"synthetic(:.*)?", typed.text) else None


def _build(spec: str, settings: SyntheticSettings, reading: SourceSettings) -> SyntheticSource:
    scene = spec.partition(":")[2] or "mixed"
    return SyntheticSource(scene, settings.wh, settings.rate_hz, settings.seed)


SYNTHETIC: Final = SourceKind(
    settings=SyntheticSettings, group="synthetic", form="synthetic[:scene]", claims=_claims, build=_build
)
