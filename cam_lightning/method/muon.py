"""Muon: momentum made orthogonal, which learns more from each image than plain momentum does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b and c of x ↦ a·x + b·x³ + c·x⁵, which drives any x of (0, 1] towards 1, small ones fastest. Jordan 2024."""


class Muon(Optimizer):
    """Stochastic gradient descent that steps as far along every direction of a layer as along its steepest.

    A layer's momentum is a matrix, of a kernel (out, in, height, width) one of `out` rows; its singular values
    all become about 1 (`orthogonal`), and then a step changes weights by `0.2 · lr` in root mean square, as
    AdamW's steps do: rates are of its size, `weight_decay` is decoupled. Parameters without a matrix, biases and
    those of normalisation, step by their momentum over its gradients' root mean square, as in Adam.

    Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon); the scale: Liu et al. 2025 (arXiv 2502.16982),
    section 2.2. torch's and timm's compute in bfloat16, which a CPU may not have, and torch's knows no kernels.
    Raises ValueError for a rate, a decay or a number of iterations below zero, or a momentum outside [0, 1).
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.01,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        iterations: int = 5,
        square_decay: float = 0.95,
        eps: float = 1e-8,
    ) -> None:
        for name, value in {"lr": lr, "weight_decay": weight_decay, "iterations": iterations}.items():
            if value < 0:
                raise ValueError(f"{name} is at least 0; got {value!r}")
        for name, value in {"momentum": momentum, "square_decay": square_decay}.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} is a share in [0, 1); got {value!r}")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "nesterov": nesterov,
                "weight_decay": weight_decay,
                "iterations": iterations,
                "square_decay": square_decay,
                "eps": eps,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step along the gradients; `closure` computes them and the loss, which is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    direction = self._direction(parameter.grad, self.state[parameter], group)
                    parameter.sub_(direction, alpha=group["lr"])
        return loss

    def _direction(self, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        if not state:
            # Means that start at their first value need no correction for a start at zero.
            state["momentum"] = gradient.clone()
        momentum: Tensor = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        if group["nesterov"]:
            momentum = gradient.lerp(momentum, group["momentum"])
        if gradient.ndim >= 2:
            matrix = orthogonal(momentum.flatten(1), group["iterations"])
            return matrix.view_as(gradient) * (0.2 * max(matrix.shape) ** 0.5)
        if "square" not in state:
            state["square"] = gradient.square()
        square: Tensor = state["square"].lerp_(gradient.square(), 1 - group["square_decay"])
        return momentum / (square.sqrt() + group["eps"])


def orthogonal(matrix_RC: Tensor, iterations: int = 5) -> Tensor:
    """The matrix (R, C) with its singular vectors, and singular values of about 1 (0.68 to 1.21).

    `iterations` of Newton and Schulz: an odd polynomial of a matrix acts on its singular values alone. Values below
    a five-hundredth of the matrix's norm stay smaller; a matrix of zeros stays what it is.
    """
    is_tall = matrix_RC.shape[0] > matrix_RC.shape[1]
    wide = matrix_RC.T if is_tall else matrix_RC
    wide = wide.to(torch.promote_types(wide.dtype, torch.float32))
    wide = wide / wide.norm().clamp(min=torch.finfo(wide.dtype).tiny)
    a, b, c = QUINTIC
    for _ in range(iterations):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return (wide.T if is_tall else wide).to(matrix_RC.dtype)
