"""Training and validation batches of a stage: real frames, rendered drives, or both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from train.config import MoreData, Stage, TrainConfig
from train.data.augment import build_augmentation
from train.data.frames import DataError, LabelledFrames
from train.data.layouts import read_data_set
from train.data.loader import Batches, Draw, Steps, in_order
from train.data.synthetic import SyntheticDrives
from train.processes import Processes

RENDERED_WH = (640, 360)
VALIDATION_SEED = 1_000_000  # roads that are not in the training set
VALIDATION_DRIVES = 8


class Loader(DataLoader[tuple[Tensor, Tensor]]):
    """torch's DataLoader, but an error of a worker stays one line."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:  # type: ignore[override]
        try:
            yield from super().__iter__()
        except DataError as error:
            # A worker's error is wrapped in its traceback, whose last line is "kind: message".
            lines = str(error).strip().splitlines()
            raise DataError(lines[-1].partition("DataError: ")[2] if len(lines) > 1 else lines[0]) from error
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DataError("a process that prepares frames was killed; use fewer --workers") from error


def training_batches(config: TrainConfig, stage: Stage, processes: Processes) -> tuple[Loader, Steps]:
    """This process's part of every step of an epoch, and their order, whose seed each epoch sets.

    Raises:
        DataError: as `training_frames`.
        ValueError: if the processes cannot share a batch evenly.
    """
    frame_sets = training_frames(config, stage)
    varied = stage.augment or config.augment
    augmentation = build_augmentation(varied, config.pad_bgr) if varied else None
    batches = Batches(frame_sets, stage.input_wh, config.pad_bgr, augmentation, config.resize)
    at_most = _at_most(config, stage, frame_sets)
    order = Steps(len(batches), stage.batch_size, processes.rank, processes.count, at_most)
    return _loader(batches, order, config.workers, processes), order


def validation_batches(config: TrainConfig, stage: Stage, processes: Processes) -> Loader:
    """This process's part of the validation frames, at the stage's size, without augmentation."""
    batches = Batches([validation_frames(config)], stage.input_wh, config.pad_bgr, None, config.resize)
    order = in_order(
        len(batches), max(1, stage.batch_size // processes.count), processes.rank, processes.count
    )
    return _loader(batches, order, 0, processes)


def _loader(batches: Batches, order: Iterable[list[Draw]], workers: int, processes: Processes) -> Loader:
    if workers:
        cv2.setNumThreads(1)  # OpenCV's thread pool does not survive a fork: a worker would wait for ever
    return Loader(
        batches,
        batch_sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # its own, or seeding the workers would shift dropout's draws
        pin_memory=processes.device.type == "cuda",
    )


def training_frames(config: TrainConfig, stage: Stage) -> list[LabelledFrames]:
    """The split `train`, that of each further data set, and the stage's rendered drives.

    Raises:
        DataError: if there is none of them, less than one batch, the data cannot be read, or a further data
            set has a recording of the validation frames.
    """
    sets: list[LabelledFrames] = []
    if config.data:
        sets.append(_real(config, config.data, "train"))
        if stage.more_data and config.more_data:
            kept_back = _recordings(validation_frames(config))
            sets += [_further(more, kept_back) for more in config.more_data]
    if stage.synthetic_drives:
        sets.append(SyntheticDrives(stage.synthetic_drives, stage.frames_per_drive, RENDERED_WH))
    if not sets:
        raise DataError("no training frames: name a data set (--data DIR) or set synthetic_drives in a stage")
    if (count := sum(map(len, sets))) < stage.batch_size:
        raise DataError(f"{count} training frames are fewer than one batch of {stage.batch_size}")
    return sets


def _further(more: MoreData, kept_back: Set[str]) -> LabelledFrames:
    data_set = read_data_set(more.folder, "auto")
    if more.scale_pictures:
        data_set = data_set.scaling_pictures()
    frames = data_set.open("train")
    if shared := sorted(_recordings(frames) & kept_back):
        raise DataError(
            f"{more.folder}: recording {shared[0]} is in the validation frames too (of {len(shared)}); "
            "leave those out"
        )
    return frames


def _recordings(frames: LabelledFrames) -> Set[str]:
    return {frames.recording(index) for index in range(len(frames))}


def _at_most(config: TrainConfig, stage: Stage, frame_sets: Sequence[LabelledFrames]) -> dict[range, int]:
    """How many frames an epoch takes of the data sets that have a share, by their places among all frames."""
    if not (config.data and stage.more_data):
        return {}
    shares = [0.0, *(more.share for more in config.more_data)]
    in_full = sum(len(some) for some, share in zip(frame_sets, shares, strict=False) if not share)
    limits, first = {}, 0
    for some, share in zip(frame_sets, shares, strict=False):
        if share:
            limits[range(first, first + len(some))] = round(in_full * share / (1 - sum(shares)))
        first += len(some)
    return limits


def validation_frames(config: TrainConfig) -> LabelledFrames:
    """The split `val`; without a data set, rendered drives on other roads."""
    if config.data:
        return _real(config, config.data, "val")
    per_drive = max(stage.frames_per_drive for stage in config.stages)
    return SyntheticDrives(VALIDATION_DRIVES, per_drive, RENDERED_WH, VALIDATION_SEED)


def _real(config: TrainConfig, folder: str, split: str) -> LabelledFrames:
    data_set = read_data_set(folder, config.layout, config.label_map)
    data_set.check_disjoint("train", "val")
    return data_set.open(split)
