"""Optimisers, learning-rate schedules and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.swa_utils import AveragedModel

from train.config import Stage, TrainConfig

Parameters = Iterable[nn.Parameter]

OPTIMISERS: dict[str, Callable[[Parameters, float, float], Optimizer]] = {
    "adam": lambda weights, rate, decay: torch.optim.Adam(weights, rate, weight_decay=decay),
    "adamw": lambda weights, rate, decay: torch.optim.AdamW(weights, rate, weight_decay=decay),
    "sgd": lambda weights, rate, decay: torch.optim.SGD(
        weights, rate, momentum=0.9, nesterov=True, weight_decay=decay
    ),
    "adagrad": lambda weights, rate, decay: torch.optim.Adagrad(weights, rate, weight_decay=decay),
}

SCHEDULES: dict[str, Callable[[Optimizer, float, int], lr_scheduler.LRScheduler]] = {
    # From a tenth up over the first 30 %, then down along a cosine. Adagrad has no momentum to cycle.
    "onecycle": lambda optimiser, rate, steps: lr_scheduler.OneCycleLR(
        optimiser,
        rate,
        total_steps=steps,
        pct_start=0.3,
        div_factor=10,
        cycle_momentum=not isinstance(optimiser, torch.optim.Adagrad),
    ),
    # Three cycles of 1/7, 2/7 and 4/7 of the stage, so that the last one ends with it.
    "cosine_restarts": lambda optimiser, rate, steps: lr_scheduler.CosineAnnealingWarmRestarts(
        optimiser, T_0=max(1, -(-steps // 7)), T_mult=2
    ),
    "polynomial": lambda optimiser, rate, steps: lr_scheduler.PolynomialLR(optimiser, steps, power=0.9),
}


def build_optimiser(
    model: nn.Module, config: TrainConfig, stage: Stage, steps: int
) -> tuple[Optimizer, lr_scheduler.LRScheduler]:
    """Optimiser over the parameters that are not frozen, and its schedule over the `steps` of a stage."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = OPTIMISERS[config.optimiser](weights, stage.max_learning_rate, config.weight_decay)
    return optimiser, SCHEDULES[config.schedule](optimiser, stage.max_learning_rate, steps)


def moving_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """Exponential moving average of weights and batch-norm statistics; None for a decay of 0.

    Its decay begins lower, (1 + n) / (10 + n) after n steps, so that it forgets the random start.
    """
    if not decay:
        return None

    def average(averages: Sequence[Tensor], values: Sequence[Tensor], steps: Tensor | int) -> None:
        keeps = min(decay, (1 + float(steps)) / (10 + float(steps)))
        for kept, value in zip(averages, values, strict=True):
            if kept.is_floating_point():
                kept.lerp_(value.to(kept.dtype), 1 - keeps)
            else:
                kept.copy_(value)  # num_batches_tracked

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
