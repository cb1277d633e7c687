"""Muon against singular value decompositions, and its steps against sums done by hand."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.method.classification import Classification
from cam_lightning.method.muon import QUINTIC, Muon, orthogonal
from cam_lightning.method.schedule import one_cycle


def polynomial(x: float, iterations: int) -> float:
    a, b, c = QUINTIC
    for _ in range(iterations):
        x = a * x + b * x**3 + c * x**5
    return x


def parameter(value: Tensor, gradient: Tensor) -> nn.Parameter:
    made = nn.Parameter(value.clone())
    made.grad = gradient.clone()
    return made


def step_of(value: Tensor, gradient: Tensor, **options: Any) -> Tensor:
    """What one step adds to the parameter."""
    stepped = parameter(value, gradient)
    Muon([stepped], **options).step()
    return stepped.detach() - value


# --- orthogonal


@pytest.mark.parametrize("shape", [(5, 5), (3, 40), (40, 3), (1, 7), (7, 1), (24, 31)])
@pytest.mark.parametrize("iterations", [0, 1, 5])
def test_singular_vectors_stay_and_singular_values_follow_the_polynomial(
    shape: tuple[int, int], iterations: int
) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    share = values / values.square().sum().sqrt()
    expected = left @ torch.diag(torch.tensor([polynomial(x, iterations) for x in share.tolist()]).double()) @ right
    torch.testing.assert_close(orthogonal(matrix, iterations), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(orthogonal(matrix.float(), iterations), expected.float(), rtol=1e-4, atol=1e-4)


def test_values_from_a_five_hundredth_of_the_norm_on_become_about_one() -> None:
    outcomes = [polynomial(share / 10_000, 5) for share in range(20, 10_001)]
    assert min(outcomes) == pytest.approx(0.68, abs=0.005)
    assert max(outcomes) == pytest.approx(1.21, abs=0.01)
    assert polynomial(0.0005, 5) < 0.5


def test_the_scale_of_the_gradients_does_not_matter_and_zeros_stay_zeros() -> None:
    matrix = torch.randn((4, 9), generator=torch.Generator().manual_seed(0))
    for scale in (1e-12, 1e12):
        torch.testing.assert_close(orthogonal(matrix * scale), orthogonal(matrix))
    assert torch.equal(orthogonal(torch.zeros(4, 9)), torch.zeros(4, 9))


@pytest.mark.parametrize("shape", [(16, 27), (40, 24), (32, 288)])
def test_agrees_with_timm(shape: tuple[int, int]) -> None:
    peer = pytest.importorskip("timm.optim.muon")
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = peer.zeropower_via_newtonschulz(matrix, 5, [QUINTIC], dtype=torch.float64)
    torch.testing.assert_close(orthogonal(matrix), expected)


# --- steps


def test_a_step_by_hand() -> None:
    """The momentum, 3 and 4 on a diagonal, has norm 5; its values 0.6 and 0.8 both become about 1."""
    gradient = torch.tensor([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    change = step_of(torch.ones(2, 3), gradient, lr=0.01, nesterov=False)
    scale = 0.01 * 0.2 * math.sqrt(3)
    expected = torch.tensor([[-polynomial(0.6, 5) * scale, 0, 0], [0, -polynomial(0.8, 5) * scale, 0]])
    torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("shape", [(8, 8), (16, 64), (64, 16), (24, 6, 3, 3)])
def test_weights_change_by_about_a_fifth_of_the_rate(shape: tuple[int, ...]) -> None:
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    change = step_of(torch.zeros(shape), gradient, lr=0.5)
    # Within what the polynomial leaves of singular values.
    assert 0.68 < change.square().mean().sqrt().item() / (0.5 * 0.2) < 1.21


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_learns_as_the_matrix_of_its_rows(memory_format: torch.memory_format) -> None:
    kernel = torch.randn((4, 3, 2, 5), generator=torch.Generator().manual_seed(0))
    gradient = torch.randn((4, 3, 2, 5), generator=torch.Generator().manual_seed(1))
    change = step_of(kernel.contiguous(memory_format=memory_format), gradient.contiguous(memory_format=memory_format))
    torch.testing.assert_close(change.flatten(1), step_of(kernel.flatten(1), gradient.flatten(1)))


def test_weight_decay_takes_its_share_of_the_weights() -> None:
    """Decoupled: the rate times the decay, whatever the gradient is."""
    weights, gradient = torch.full((3, 4), 2.0), torch.eye(3, 4)
    plain = step_of(weights, gradient, lr=0.1)
    torch.testing.assert_close(step_of(weights, gradient, lr=0.1, weight_decay=0.5) - plain, -0.05 * weights)


@pytest.mark.parametrize("nesterov", [True, False])
def test_several_steps_against_a_plain_loop(nesterov: bool) -> None:
    """A bias, number for number, beside a kernel whose matrices come from `orthogonal`."""
    random = torch.Generator().manual_seed(0)
    kernel, bias = torch.randn((4, 2, 3, 3), generator=random), torch.randn(3, generator=random)
    learned = [nn.Parameter(kernel.clone()), nn.Parameter(bias.clone())]
    optimizer = Muon(learned, lr=0.1, momentum=0.8, nesterov=nesterov, weight_decay=0.1, square_decay=0.7)
    mean = square = kernel_mean = None
    for _ in range(4):
        gradient, kernel_gradient = torch.randn(3, generator=random), torch.randn((4, 2, 3, 3), generator=random)
        learned[0].grad, learned[1].grad = kernel_gradient.clone(), gradient.clone()
        optimizer.step()

        mean = gradient if mean is None else 0.8 * mean + 0.2 * gradient
        square = gradient**2 if square is None else 0.7 * square + 0.3 * gradient**2
        ahead = 0.2 * gradient + 0.8 * mean if nesterov else mean
        bias = torch.tensor(
            [w * 0.99 - 0.1 * m / (math.sqrt(s) + 1e-8) for w, m, s in zip(bias, ahead, square, strict=True)]
        )
        kernel_mean = kernel_gradient if kernel_mean is None else 0.8 * kernel_mean + 0.2 * kernel_gradient
        kernel_ahead = 0.2 * kernel_gradient + 0.8 * kernel_mean if nesterov else kernel_mean
        direction = orthogonal(kernel_ahead.reshape(4, 18)).reshape(4, 2, 3, 3)
        kernel = kernel * 0.99 - 0.1 * 0.2 * math.sqrt(18) * direction
    torch.testing.assert_close(learned[1].detach(), bias)
    torch.testing.assert_close(learned[0].detach(), kernel, rtol=1e-5, atol=1e-5)


def test_parameters_without_a_gradient_stay() -> None:
    """Not even decayed: a frozen layer must stay what it was."""
    frozen, learning = nn.Parameter(torch.ones(2, 2)), parameter(torch.ones(2, 2), torch.eye(2))
    Muon([frozen, learning], weight_decay=0.5).step()
    assert torch.equal(frozen.detach(), torch.ones(2, 2))
    assert not torch.equal(learning.detach(), torch.ones(2, 2))


def test_goes_on_from_its_state_as_if_nothing_had_happened() -> None:
    """Two steps, a checkpoint, two more; and all four at once."""

    def steps(weights: nn.Parameter, optimizer: Muon, numbers: range) -> None:
        for number in numbers:
            weights.grad = torch.randn(weights.shape, generator=torch.Generator().manual_seed(number))
            optimizer.step()

    for shape in ((6, 3, 3, 3), (6,)):
        whole = nn.Parameter(torch.ones(shape))
        steps(whole, Muon([whole]), range(4))
        first = nn.Parameter(torch.ones(shape))
        optimizer = Muon([first])
        steps(first, optimizer, range(2))
        second = nn.Parameter(first.detach().clone())
        resumed = Muon([second])
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        steps(second, resumed, range(2, 4))
        assert torch.equal(whole, second)


def test_the_rate_and_momentum_of_one_cycle_reach_it() -> None:
    weights = parameter(torch.ones(3, 3), torch.eye(3))
    optimizer = Muon([weights], lr=0.1, momentum=0.9)
    schedule = one_cycle(optimizer, 10)
    courses = []
    for _ in range(10):
        courses.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        schedule.step()
    rates, momenta = zip(*courses, strict=True)
    assert max(rates) == pytest.approx(0.1)
    assert (momenta[0], min(momenta), momenta[-1]) == pytest.approx((0.95, 0.85, 0.95))


def test_learns_in_the_groups_of_the_method(network: Any, data: Any, trainer: Any) -> None:
    """Biases have twice the rate and no decay; of 20 images of noise it then knows half, chance a sixth."""
    module = Classification(network, partial(Muon, momentum=0.9), one_cycle, learning_rate=0.05, weight_decay=0.1)
    fitting = trainer(max_epochs=40, limit_val_batches=0)
    fitting.fit(module, datamodule=data)
    groups = fitting.optimizers[0].param_groups
    assert [(group["max_lr"], group["weight_decay"]) for group in groups] == [(0.05, 0.1), (0.1, 0.0)]
    assert fitting.callback_metrics["train/classification_error/top1"] <= 0.5


def test_a_closure_computes_the_gradients() -> None:
    weights = nn.Parameter(torch.ones(2, 3))
    optimizer = Muon([weights])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weights.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 6
    assert optimizer.step(closure).item() < 6


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"lr": -1}, "lr is at least 0; got -1"),
        ({"weight_decay": -0.1}, "weight_decay is at least 0"),
        ({"iterations": -1}, "iterations is at least 0"),
        ({"momentum": 1.0}, r"momentum is a share in \[0, 1\); got 1.0"),
        ({"square_decay": -0.5}, "square_decay is a share"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Muon([nn.Parameter(torch.ones(2, 2))], **options)
