"""Learning-rate schedules, stepped once per iteration; each keeps the ratios between the groups' rates."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR


def step(optimizer: Optimizer, total_steps: int, every: int = 40_000, factor: float = 0.1) -> LRScheduler:
    """Multiplies the rate by `factor` every `every` iterations, as in the released training files."""
    return StepLR(optimizer, step_size=every, gamma=factor)


def step_epochs(
    optimizer: Optimizer, total_steps: int, every: int, epochs: int, factor: float = 0.1, max_steps: int = -1
) -> LRScheduler:
    """Multiplies the rate by `factor` every `every` epochs of a training of `epochs`, as the WSOL benchmark does.

    Raises ValueError where the training is not told in epochs (`trainer.max_epochs=-1`), and where `max_steps` ends it
    (`trainer.max_steps`): how long an epoch is could not be told from its steps.
    """
    if epochs is None or epochs < 1:
        raise ValueError(f"method.schedule.epochs is the training's, at least 1; got {epochs}: give trainer.max_epochs")
    if total_steps == max_steps:
        raise ValueError(
            f"trainer.max_steps={max_steps} ends the training, and method/schedule=step_epochs tells epochs by all the "
            f"steps of trainer.max_epochs={epochs}: leave trainer.max_steps out, or take method/schedule=step"
        )
    return StepLR(optimizer, step_size=max(1, round(total_steps * every / epochs)), gamma=factor)


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    warm_up: float = 0.3,
    start_factor: float = 1 / 25,
    end_factor: float = 1e-4,
) -> LRScheduler:
    """Rises from `start_factor` of the rate to the rate within `warm_up`, then falls; both as cosines.

    The rate ends at `start_factor · end_factor` of the rate; momentum moves the other way, from 0.95 to 0.85
    and back, whatever the optimizer's (none stays none). Raises ValueError for a `warm_up` outside [0, 1).
    Smith 2018.
    """
    if not 0 <= warm_up < 1:
        raise ValueError(f"warm_up is a share of the training, in [0, 1); got {warm_up}")
    # OneCycleLR needs a step on either side of the peak.
    total_steps = max(2, total_steps)
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=total_steps,
        # It divides by the length of the rise, and that of a rise of one step is zero.
        pct_start=warm_up if warm_up * total_steps > 1 else 0.0,
        div_factor=1 / start_factor,
        final_div_factor=1 / end_factor,
        cycle_momentum=optimizer.defaults.get("momentum", 0) > 0,
    )


def constant(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """Leaves the rate as it is."""
    return StepLR(optimizer, step_size=max(1, total_steps), gamma=1.0)
