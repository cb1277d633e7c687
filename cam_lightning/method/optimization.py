"""At which rate each parameter learns: the optimizer's groups, and the linear scaling rule."""

from __future__ import annotations

import logging
from typing import Any

from lightning import Trainer
from torch import nn

log = logging.getLogger(__name__)


def parameter_groups(
    network: nn.Module,
    learning_rate: float,
    weight_decay: float,
    bias_rate_factor: float,
    new_layer_rate_factor: float,
) -> list[dict[str, Any]]:
    """Weights and biases that learn, each of kept and of new layers: four groups, empty ones left out.

    Biases have `bias_rate_factor` times the rate and no weight decay, the layers that `network.new_layers` names
    `new_layer_rate_factor` times the rate.
    """
    new_layers = tuple(getattr(network, "new_layers", ()))
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            is_new = any(name == layer or name.startswith(f"{layer}.") for layer in new_layers)
            groups.setdefault((is_new, name.endswith("bias")), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (new_layer_rate_factor if is_new else 1.0) * (bias_rate_factor if is_bias else 1.0),
            "weight_decay": 0.0 if is_bias else weight_decay,
        }
        for (is_new, is_bias), parameters in groups.items()
    ]


def rate_factor(trainer: Trainer, learning_rate: float, meant_for: int | None) -> float:
    """Images per step over the number that the rate is meant for (1 where that is None); says what a step is made of.

    Images per step: of all processes and accumulated batches (Goyal et al. 2017, section 2.1).
    """
    data = getattr(trainer, "datamodule", None)
    if data is None:
        return 1.0
    per_process = data.train_dataloader().batch_sampler.batch_size
    processes, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    per_step = per_process * processes * accumulated
    factor = 1.0 if meant_for is None else per_step / meant_for
    log.info(
        "a step sees %d images: %d at once, %d process(es), %d batch(es) accumulated; learning rate %g%s",
        per_step,
        per_process,
        processes,
        accumulated,
        learning_rate * factor,
        "" if factor == 1 else f", {learning_rate:g} for {meant_for} images",
    )
    return factor
