"""Model: a network that is loaded, and asked about one picture at a time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perception.api.result import Result
from perception.api.settings import check_of_model
from perception.build import build_tracer, load_engine, predictors_of
from perception.cli_config import from_values
from perception.config import node_config
from perception.frame import Frame
from perception.inference.engines import Engine
from perception.inference.zoo import DEFAULT_MODEL, model_file
from perception.pipeline import RunPolicy
from perception.refine import refine_steps
from perception.sources.images import ImagesSource
from perception.sources.registry import Spec
from perception.sources.source import SourceError, SourceInfo
from perception.system.redaction import redacted_url

_ARRAY: Final = "array"
"""Source id of a frame that is an array."""
_STILL: Final = SourceInfo(_ARRAY, False, None, 1.0, is_one_picture=True, are_stills=True)


class Network:
    """A model's file and settings, and its engines, each loaded when it is first wanted."""

    def __init__(self, name: str | os.PathLike[str], **settings: Any) -> None:
        """Find the file and check the settings, as of `Model`."""
        check_of_model(settings)
        self.settings: dict[str, Any] = {**settings, "model": os.fspath(name)}
        """The node's settings that were given, and `model`."""
        self.config = from_values(node_config(self.settings), "drivable-node", self.settings)
        self.file = model_file(self.config.model)
        self._lock = Lock()
        self._engines: dict[bool, Engine] = {}

    def engine_for(self, is_live: bool) -> Engine:
        """The engine for single pictures and live sources, or the one for recordings; see `load_engine`.

        A GPU has one for both.

        Raises:
            EngineError: if it cannot be loaded.
        """
        with self._lock:
            one_for_all = next((it for it in self._engines.values() if it.runs_one_at_a_time), None)
            if is_live not in self._engines:
                self._engines[is_live] = one_for_all or load_engine(self.file, self.config, is_live)
            return self._engines[is_live]


class Model:
    """A network, loaded and ready; may be called by any thread, and serves any number of runs.

    Example:
        >>> import perception
        >>> from perception.synthetic import DriveRenderer
        >>> image_bgr, truth = DriveRenderer("highway", (640, 360)).render(0)
        >>> model = perception.Model("rt_s-int8", threads=1)
        >>> model.labels
        ('direct', 'alternative', 'background')
        >>> model(image_bgr).frame_wh
        (640, 360)
    """

    def __init__(self, name: str | os.PathLike[str] = DEFAULT_MODEL, **settings: Any) -> None:
        """Load the network and run it once.

        Args:
            name: of a shipped model, such as "rt_m-int8", or a file of drivable-export.
            settings: the node's own by their names: engine, engine_precision, provider, allow_fallback,
                threads, load_timeout_s, ignore.

        Raises:
            FileNotFoundError: if there is no such model; the message lists the shipped ones.
            SettingsError: for a setting that cannot be used.
            EngineError: if it cannot be loaded and run as asked.
        """
        self.network = Network(name, **settings)
        """What runs are built from."""
        self.engine = self.network.engine_for(is_live=True)
        """What runs single pictures; its `contract` says what the file promises."""
        self._config = self.network.config
        (self._predictor,) = predictors_of(self.engine, self._config, is_live=True)
        self._lock = Lock()
        refine_steps(self._config, _STILL)  # settings that no step can be made of are refused here
        self._tracer = build_tracer(self._config, self.engine, _STILL)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that the network separates."""
        return self.engine.contract.labels

    def __call__(self, picture: str | os.PathLike[str] | NDArray[np.uint8] | Frame) -> Result:
        """Where the vehicle can drive in one picture.

        Args:
            picture: an image file, of which the first picture is taken; (H, W, 3) uint8 BGR; or a Frame.

        Raises:
            SourceError: if the file cannot be read, or is no image.
            ValueError: for an array of another shape or type.
            EngineError: if the graph takes frames of another size only, or gives no finite numbers.
        """
        frame = _frame_of(picture, round(self._config.max_megapixels * 1e6))
        with self._lock:
            prediction = self._predictor(frame)
        # made for each: no picture is to be judged by another
        policy = RunPolicy(refine=refine_steps(self._config, _STILL), tracer=self._tracer)
        return Result(policy.finish(prediction, time.monotonic_ns(), _STILL))

    def __repr__(self) -> str:
        """Its name and what runs it."""
        return f"<Model {self.engine.contract.model_id} on {self.engine.provider}>"


def _frame_of(picture: str | os.PathLike[str] | NDArray[np.uint8] | Frame, max_pixels: int) -> Frame:
    if isinstance(picture, Frame):
        return picture
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ValueError(
                f"a picture is (H, W, 3) uint8 in BGR order, and this is {picture.shape} {picture.dtype}"
            )
        now_ns = time.monotonic_ns()
        return Frame(_ARRAY, 0, now_ns, 0, np.ascontiguousarray(picture), name=_ARRAY)
    return _read(os.fspath(picture), max_pixels)


def _read(picture: str, max_pixels: int) -> Frame:
    """The first picture of an image file."""
    spec = Spec.of(picture)
    if spec.kind != "images" or not Path(spec.text).is_file():
        raise SourceError(
            f"{redacted_url(picture)}: is not a single image; perception.open reads it frame by frame"
        )
    source = ImagesSource(spec.text, max_pixels=max_pixels)
    try:
        source.open()
        return source.read()
    finally:
        source.close()
