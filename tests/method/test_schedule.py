"""Schedules against their formulas, and the ratio of rates that each keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cam_lightning.method.schedule import constant, one_cycle, step, step_epochs


def course(schedule: Callable[..., LRScheduler], total_steps: int, **sgd: Any) -> tuple[list[list[float]], Optimizer]:
    """The rates of weights (0.1), biases (0.2) and new layers (1.0) at every step."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.2, 1.0)]
    optimizer = torch.optim.SGD(groups, **sgd)
    scheduler = schedule(optimizer, total_steps)
    rates = []
    for _ in range(total_steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates, optimizer


@pytest.mark.parametrize("schedule", [constant, one_cycle, partial(step, every=7)])
def test_the_ratios_between_rates_stay(schedule: Callable[..., LRScheduler]) -> None:
    rates, _ = course(schedule, 30, momentum=0.9)
    for weights, biases, new in rates:
        assert biases / weights == pytest.approx(2)
        assert new / weights == pytest.approx(10)


def test_step_by_hand() -> None:
    rates, _ = course(partial(step, every=3, factor=0.1), 8)
    assert [row[2] for row in rates] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_constant() -> None:
    rates, _ = course(constant, 50)
    assert all(row == [0.1, 0.2, 1.0] for row in rates)


def test_one_cycle_against_its_formula() -> None:
    """Two half cosines that meet at the peak; the last step has the smallest rate."""
    total, warm_up, start, end = 40, 0.25, 0.04, 1e-3
    rates, _ = course(partial(one_cycle, warm_up=warm_up, start_factor=start, end_factor=end), total)
    peak = warm_up * total - 1
    for i, row in enumerate(rates):
        if i <= peak:
            expected = start + (1 - start) * (1 - math.cos(math.pi * i / peak)) / 2
        else:
            low = start * end
            expected = low + (1 - low) * (1 + math.cos(math.pi * (i - peak) / (total - 1 - peak))) / 2
        assert row[2] == pytest.approx(expected, rel=1e-6)
    assert rates[9][0] == pytest.approx(0.1)
    assert rates[-1][0] == pytest.approx(0.1 * start * end)


@pytest.mark.parametrize("warm_up", [0.0, 0.1, 0.2, 0.25, 0.3, 0.5, 0.9])
def test_one_cycle_of_any_length(warm_up: float) -> None:
    """A run of a few steps too (`fast_dev_run` has one): no division by a rise of no length."""
    for total in range(1, 25):
        rates, _ = course(partial(one_cycle, warm_up=warm_up), total, momentum=0.9)
        assert all(0 < row[2] <= 1 + 1e-12 for row in rates)


@pytest.mark.parametrize("warm_up", [-0.1, 1.0, 30])
def test_warm_up_is_a_share(warm_up: float) -> None:
    with pytest.raises(ValueError, match=r"warm_up .* in \[0, 1\)"):
        course(partial(one_cycle, warm_up=warm_up), 10)


def test_one_cycle_moves_momentum_and_gives_none_where_none_was_asked_for() -> None:
    for asked, first in ((0.9, 0.95), (0.0, 0.0)):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=asked)
        scheduler = one_cycle(optimizer, 10)
        assert optimizer.param_groups[0]["momentum"] == pytest.approx(first)
        optimizer.step()
        scheduler.step()
        assert (optimizer.param_groups[0]["momentum"] < first) is (asked > 0)


def test_one_cycle_with_an_optimizer_without_momentum() -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=0.1)
    one_cycle(optimizer, 10)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize(("total", "every", "epochs"), [(60, 2, 6), (9, 3, 10), (50, 15, 50)])
def test_a_tenth_every_so_many_epochs(total: int, every: int, epochs: int) -> None:
    rates, _ = course(partial(step_epochs, every=every, epochs=epochs), total)
    falls = max(1, round(total / epochs * every))
    for number, rate in enumerate(rates):
        assert rate == pytest.approx([each * 0.1 ** (number // falls) for each in (0.1, 0.2, 1.0)])


def test_epochs_must_be_told() -> None:
    with pytest.raises(ValueError, match=r"method.schedule.epochs .* got -1: give trainer.max_epochs"):
        course(partial(step_epochs, every=3, epochs=-1), 4)


def test_epochs_of_a_training_that_steps_end_are_refused() -> None:
    """Of 50 epochs of 100 steps, 1,000 steps: a tenth after 15 epochs is never reached, and not after 300 steps."""
    schedule = partial(step_epochs, every=15, epochs=50, max_steps=1000)
    with pytest.raises(ValueError, match=r"trainer\.max_steps=1000 ends the training"):
        course(schedule, 1000)
    course(partial(schedule, max_steps=9999), 5000)
